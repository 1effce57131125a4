"""Operations on clouds: tensors in, tensors out. The plain form is the definition, the fused form is the fast one."""

from ogreid.ops.edges import edge_blend
from ogreid.ops.groups import GateWeights, group_max, group_members, group_perceptron
from ogreid.ops.norms import Moments, Norm
from ogreid.ops.points import ball, balls, farthest_points, gather_points, nearest, nearest_of

__all__ = [
    "GateWeights", "Moments", "Norm", "ball", "balls", "edge_blend", "farthest_points", "gather_points", "group_max",
    "group_members", "group_perceptron", "nearest", "nearest_of",
]  # fmt: skip
