"""Where parameters come from: priors, prior-invariant moves, optimisers."""

from .arcs import Arcs, Window, arcs
from .blocks import Block, can_reflect_heads, can_share_heads, draw_block
from .descriptions import from_description
from .devices import block_mesh, over_blocks
from .gaussian import Gaussian
from .initializer import Initializer
from .lattice import Lattice
from .prior import Prior, fan_scale, standard_normal
from .sphere import Sphere
from .uniform import Uniform

__all__ = [
    "Arcs",
    "Block",
    "Gaussian",
    "Initializer",
    "Lattice",
    "Prior",
    "Sphere",
    "Uniform",
    "Window",
    "arcs",
    "block_mesh",
    "can_reflect_heads",
    "can_share_heads",
    "draw_block",
    "fan_scale",
    "from_description",
    "over_blocks",
    "standard_normal",
]
