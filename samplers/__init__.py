"""Where parameters come from: priors, prior-invariant moves, optimisers."""

from .arcs import Arcs, Window, arcs
from .blocks import Block, can_reflect_heads, can_share_heads, draw_block
from .descriptions import from_description
from .devices import block_mesh, checked_devices, first_devices, over_blocks, replicated
from .gaussian import Gaussian
from .initializer import Initializer
from .lattice import Lattice
from .lines import Directions, Lines, directions, lines, refreshed
from .objectives import LOSSES, OBJECTIVES, PPO, Loss, Objective, Reinforce, Rollout, log_policy, objective
from .optimisers import OPTIMISERS, SCHEDULES, Optimiser
from .preconditioners import Curvature, Preconditioner, columns, diagonal, eigen, squares
from .prior import Prior, fan_scale, standard_normal
from .radial import log_radial, log_radial_centred
from .rays import RayPrior, Rays, Search, Star, log_masses, ray_directions, ray_prior, shoot
from .sphere import Sphere
from .training import Data, Networks, SlotStatus, Training, empty_pool, fill_pool, reorder_pool, train, train_pool
from .truncated import log_mass, quantile
from .uniform import Uniform

__all__ = [
    "LOSSES",
    "OBJECTIVES",
    "OPTIMISERS",
    "PPO",
    "SCHEDULES",
    "Arcs",
    "Block",
    "Curvature",
    "Data",
    "Directions",
    "Gaussian",
    "Initializer",
    "Lattice",
    "Lines",
    "Loss",
    "Networks",
    "Objective",
    "Optimiser",
    "Preconditioner",
    "Prior",
    "RayPrior",
    "Rays",
    "Reinforce",
    "Rollout",
    "Search",
    "SlotStatus",
    "Sphere",
    "Star",
    "Training",
    "Uniform",
    "Window",
    "arcs",
    "block_mesh",
    "can_reflect_heads",
    "can_share_heads",
    "checked_devices",
    "columns",
    "diagonal",
    "directions",
    "draw_block",
    "eigen",
    "empty_pool",
    "fan_scale",
    "fill_pool",
    "first_devices",
    "from_description",
    "lines",
    "log_mass",
    "log_masses",
    "log_policy",
    "log_radial",
    "log_radial_centred",
    "objective",
    "over_blocks",
    "quantile",
    "ray_directions",
    "ray_prior",
    "refreshed",
    "reorder_pool",
    "replicated",
    "shoot",
    "squares",
    "standard_normal",
    "train",
    "train_pool",
]
