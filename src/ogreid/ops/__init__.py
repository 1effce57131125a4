"""Operations on clouds: tensors in, tensors out. The plain form is the definition, the fused form is the fast one."""

from ogreid.ops.edges import edge_blend
from ogreid.ops.groups import group_max, group_members
from ogreid.ops.neighbours import ball, balls, nearest, nearest_of
from ogreid.ops.sampling import farthest_points, gather_points

__all__ = [
    "ball",
    "balls",
    "edge_blend",
    "farthest_points",
    "gather_points",
    "group_max",
    "group_members",
    "nearest",
    "nearest_of",
]
