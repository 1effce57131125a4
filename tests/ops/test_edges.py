"""Gather-and-blend: the definition by loops, and the edge-free form with its written-out backward."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operation_cases import assert_forms_agree, blend, edge_case, random


def test_the_plain_form_is_the_definition():
    leaves, graph, _ = edge_case(2, 12, 4, 3)
    source, center, scale, shift, weight = leaves
    edges = torch.zeros(2, 12, 4, 3, dtype=torch.float64)
    for b, i, e in torch.cartesian_prod(torch.arange(2), torch.arange(12), torch.arange(4)).tolist():
        edges[b, i, e] = source[b, graph[b, i, e]] + center[b, i]
    rows = edges.view(-1, 3)
    normal = (edges - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt() * scale + shift
    result = blend("plain", leaves, graph)
    torch.testing.assert_close(result.value, weight * normal.max(2).values + (1 - weight) * normal.mean(2))
    torch.testing.assert_close(result.moments.variance, rows.var(0, correction=0))


@settings(max_examples=45, deadline=None)
@given(
    batch=st.integers(1, 4),
    points=st.integers(1, 70),
    share=st.floats(0, 1),
    channels=st.integers(1, 70),
    running=st.booleans(),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    seed=st.integers(0, 2**16),
)
def test_both_forms_agree(batch, points, share, channels, running, dtype, seed):
    inputs = edge_case(batch, points, 1 + int(share * (points - 1)), channels, seed, dtype, running)
    # One or two edges normalized by their own moments are a division of rounding by rounding.
    single = 1e-5 if batch * points > 8 else 1e-2
    assert_forms_agree(blend, inputs, 1e-10 if dtype == torch.float64 else single)


def test_more_than_256_neighbors_are_numbered():
    assert_forms_agree(blend, edge_case(1, 300, 290, 2, 1))


def test_a_large_common_offset_does_not_spoil_the_variance():
    (source, center, *rest), graph, _ = edge_case(4, 60, 5, 8, 2)
    far, near = (blend("fused", [source + a, center - b, *rest], graph).value for a, b in ((1e3, 700), (0, 0)))
    torch.testing.assert_close(far, near, rtol=1e-8, atol=1e-8)


def test_half_precision_comes_back_as_half_precision():
    (*rows, scale, shift, weight), graph, _ = edge_case(2, 30, 4, 8, 3, torch.float32)
    half = [row.bfloat16() for row in rows]
    full = [row.float() for row in half]
    narrow, wide = (blend("fused", [*pair, scale, shift, weight], graph).value for pair in (half, full))
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow, wide.bfloat16())


@pytest.mark.parametrize("running", [False, True])
def test_the_written_out_backward_passes_a_numerical_check(running):
    leaves, graph, moments = edge_case(2, 9, 3, 4, 5, running=running)
    leaves = [leaf.requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(lambda *leaves: blend("fused", leaves, graph, moments).value, leaves)


@settings(max_examples=15, deadline=None)
@given(copies=st.integers(2, 5), kinds=st.integers(2, 9), k=st.integers(2, 8), seed=st.integers(0, 2**16))
def test_among_equal_edges_both_forms_send_the_gradient_to_the_first(copies, kinds, k, seed):
    """Duplicated points send along equal edges; which of them is the largest must not depend on the form."""
    points = copies * kinds
    twins = torch.arange(points) % kinds
    rows = [random(2, kinds, 5, seed=seed + i)[:, twins] for i in range(2)]
    graph = torch.randint(points, (2, points, k), generator=torch.Generator().manual_seed(seed))
    weight = torch.tensor(0.4, dtype=torch.float64)
    assert_forms_agree(blend, ([*rows, random(5, seed=3), random(5, seed=4), weight], graph), largest=10.0)
