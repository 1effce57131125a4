"""Views, duplicates, everything in one place, NaN: every operation, and whole networks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogreid.errors import InputError
from ogreid.models import build_model
from ogreid.ops import balls, farthest_points, gather_points, nearest, nearest_of
from operation_cases import FORMS, blend, edge_case, group_case, perceive, random


def strided(tensor):
    """The same values, every second number of a larger tensor, dimensions stored the other way round."""
    room = torch.zeros([2 * size for size in reversed(tensor.shape)], dtype=tensor.dtype)
    view = room.permute(list(reversed(range(tensor.dim()))))[tuple(slice(None, None, 2) for _ in tensor.shape)]
    return view.copy_(tensor)


@pytest.mark.parametrize("backend", FORMS)
def test_views_that_are_not_contiguous_are_read_as_their_copies(backend):
    xyz, features = random(2, 40, 3), random(2, 40, 9, seed=1)
    edges, graph, _ = edge_case(2, 40, 5, 9)
    members, index, _ = group_case((2, 40, 8, 6, 9, 7, 2))
    for run, inputs in (
        (lambda x: farthest_points(x, 9, backend=backend), [xyz]),
        (lambda x: nearest(x, 5, backend=backend), [xyz]),
        (lambda x: nearest(x, 5, backend=backend), [features]),
        (lambda x, c: nearest_of(x, c, 5), [xyz, xyz[:, :8]]),
        (lambda x, c: balls(x, c, [0.9], [6], backend=backend)[0], [xyz, xyz[:, :8]]),
        (gather_points, [features, graph]),
        (lambda graph, *leaves: blend(backend, leaves, graph).value, [graph, *edges]),
        (lambda index, *leaves: perceive(backend, leaves, index).value, [index, *members]),
    ):
        # Sums over other strides may round differently; choices may not differ.
        torch.testing.assert_close(run(*map(strided, inputs)), run(*inputs), rtol=1e-12, atol=1e-12)


@settings(max_examples=12, deadline=None)
@given(
    points=st.integers(24, 60),
    kind=st.sampled_from(["cloud", "duplicated", "at the origin", "line"]),
    k=st.integers(1, 24),
    training=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_whole_networks_of_both_forms_embed_alike(points, kind, k, training, seed):
    xyz, rgb = 0.3 * random(3, points, 3, seed=seed), random(3, points, 3, seed=seed + 1)
    if kind == "duplicated":
        xyz, rgb = (tensor[:, torch.arange(points) // 2] for tensor in (xyz, rgb))
    elif kind == "at the origin":
        xyz = torch.zeros_like(xyz)
    elif kind == "line":
        xyz[..., 1:] = 0
    torch.manual_seed(seed)
    options = {"channels": [8, 16], "num_kept": [24, 24], "k": k, "embedding": 12, "last_graph": "position"}
    networks = [build_model("ognet", **options, backend=form) for form in FORMS]
    networks[1].load_state_dict(networks[0].state_dict())
    plain, fused = (network.double().train(training)(xyz, rgb) for network in networks)
    assert fused.isfinite().all()
    if kind in ("cloud", "line"):  # elsewhere the k nearest are not unique
        torch.testing.assert_close(fused, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", FORMS)
def test_a_network_refuses_a_cloud_that_is_too_small_or_not_finite(backend):
    xyz = torch.rand(2, 30, 3)
    xyz[1, 4, 0] = torch.nan
    for k, words in ((31, "expected 1 to 30 .* got 31"), (4, "cloud 1, point 4")):
        network = build_model("ognet", channels=[8, 16], num_kept=[24, 12], k=k, embedding=12, backend=backend)
        with pytest.raises(InputError, match=words):
            network(xyz.nan_to_num() if k == 31 else xyz, torch.zeros(2, 30, 3))
