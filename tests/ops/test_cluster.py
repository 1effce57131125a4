"""torch-cluster's k nearest and farthest points against ours."""

import importlib.util

import pytest
import torch

from ogreid.errors import InputError
from ogreid.ops import ball, farthest_points, nearest
from operation_cases import random

pytestmark = pytest.mark.cluster
installed = pytest.mark.skipif(importlib.util.find_spec("torch_cluster") is None, reason="make cluster builds it")


@installed
@pytest.mark.parametrize(("points", "count"), [(7, 1), (7, 7), (100, 33), (1000, 768), (997, 499)])
def test_farthest_points_agree_and_are_exactly_as_many_as_requested(points, count):
    xyz = random(3, points, 3, seed=points, dtype=torch.float32)
    assert torch.equal(farthest_points(xyz, count, backend="cluster"), farthest_points(xyz, count, backend="fused"))


@installed
@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize("k", [1, 8, 120])
def test_neighbors_agree(channels, k):
    points = random(2, 200, channels, seed=k)  # in double precision there are no near ties
    assert torch.equal(nearest(points, k, backend="cluster"), nearest(points, k, backend="fused"))


def test_what_it_cannot_do_is_refused(monkeypatch):
    xyz = random(1, 9, 3)
    for run in (
        lambda: farthest_points(xyz, 4, skip_origin=True, backend="cluster"),
        lambda: ball(xyz, xyz, 0.1, 2, backend="cluster"),
    ):
        with pytest.raises(InputError, match="no cluster form"):
            run()
    monkeypatch.setattr("ogreid.ops.backends._cluster_installed", lambda: False)
    with pytest.raises(InputError, match="`make cluster`"):
        nearest(xyz, 4, backend="cluster")
