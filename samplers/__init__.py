"""Where parameters come from: priors, optimisers, objectives of training.

``__all__`` is what users need. What only the library's own modules need is importable from here, too: see `internals`.
"""

from .descriptions import from_description
from .independent import Gaussian, Uniform
from .initializer import Initializer
from .internals import *  # noqa: F403
from .lattice import Lattice
from .objectives import LOSSES, OBJECTIVES, PPO, Loss, Objective, Reinforce
from .optimisers import OPTIMISERS, SCHEDULES, Optimiser
from .prior import Prior
from .sphere import Sphere

__all__ = [
    "LOSSES",
    "OBJECTIVES",
    "OPTIMISERS",
    "PPO",
    "SCHEDULES",
    "Gaussian",
    "Initializer",
    "Lattice",
    "Loss",
    "Objective",
    "Optimiser",
    "Prior",
    "Reinforce",
    "Sphere",
    "Uniform",
    "from_description",
]
