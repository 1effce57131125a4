"""torch-cluster's k nearest and farthest points against ours."""

import importlib.util

import pytest
import torch

from ogreid.errors import InputError
from ogreid.ops import farthest_points, nearest

pytestmark = pytest.mark.cluster
installed = pytest.mark.skipif(
    importlib.util.find_spec("torch_cluster") is None, reason="make cluster builds torch-cluster"
)


@installed
@pytest.mark.parametrize(("points", "count"), [(7, 1), (7, 7), (100, 33), (1000, 768), (997, 499)])
def test_farthest_points_agree_and_are_exactly_as_many_as_asked(points, count):
    xyz = torch.randn(3, points, 3, generator=torch.Generator().manual_seed(points))
    assert torch.equal(farthest_points(xyz, count, backend="cluster"), farthest_points(xyz, count, backend="fused"))


@installed
@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize("k", [1, 8, 120])
def test_neighbors_agree(channels, k):
    generator = torch.Generator().manual_seed(k)
    points = torch.randn(2, 200, channels, generator=generator, dtype=torch.float64)  # no near ties
    assert torch.equal(nearest(points, k, backend="cluster"), nearest(points, k, backend="fused"))


def test_the_origin_rule_has_no_cluster_form():
    with pytest.raises(InputError, match="no cluster form"):
        farthest_points(torch.randn(1, 9, 3), 4, skip_origin=True, backend="cluster")


def test_without_the_package_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("ogreid.ops.backends._cluster_installed", lambda: False)
    with pytest.raises(InputError, match="`make cluster`"):
        nearest(torch.randn(1, 9, 3), 4, backend="cluster")
