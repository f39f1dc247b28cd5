"""What the library's own modules take from this folder and users do not need: moves, rays, training pools, devices.

The facade passes these names on without listing them, so that the library imports from the facade only. They may
change with any release.
"""

from .arcs import Arcs, Window, arcs
from .blocks import Block, block_key_data, block_networks, can_reflect_heads, can_share_heads, draw_block
from .devices import block_mesh, checked_devices, first_devices, over_blocks, replicated
from .lines import Directions, Lines, directions, lines, refreshed
from .objectives import Rollout, log_policy, objective
from .preconditioners import Curvature, Preconditioner, columns, diagonal, eigen, squares
from .prior import fan_scale, standard_normal
from .radial import log_radial, log_radial_centred
from .rays import RayPrior, Rays, Search, Star, log_masses, ray_directions, ray_prior, shoot
from .scaled import log_sizes, rescaled
from .training import Data, Networks, SlotStatus, Training, empty_pool, fill_pool, reorder_pool, train, train_pool
from .truncated import log_mass, quantile

__all__ = [
    "Arcs",
    "Block",
    "Curvature",
    "Data",
    "Directions",
    "Lines",
    "Networks",
    "Preconditioner",
    "RayPrior",
    "Rays",
    "Rollout",
    "Search",
    "SlotStatus",
    "Star",
    "Training",
    "Window",
    "arcs",
    "block_key_data",
    "block_mesh",
    "block_networks",
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
    "lines",
    "log_mass",
    "log_masses",
    "log_policy",
    "log_radial",
    "log_radial_centred",
    "log_sizes",
    "objective",
    "over_blocks",
    "quantile",
    "ray_directions",
    "ray_prior",
    "refreshed",
    "reorder_pool",
    "replicated",
    "rescaled",
    "shoot",
    "squares",
    "standard_normal",
    "train",
    "train_pool",
]
