"""Random inputs of the operations on edges and groups, and what comes out of them in each form."""

import torch

from ogreid.ops import GateWeights, Moments, Norm, edge_blend, group_perceptron, nearest

FORMS = ["plain", "fused"]


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def drawn(seed, dtype):
    """Draws tensors one after another."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def edge_case(batch, points, k, channels, seed=0, dtype=torch.float64, running=False):
    """Source, center, BatchNorm's scale (of both signs) and shift, weight; the graph; the moments or None."""
    draw = drawn(seed, dtype)
    graph = nearest(draw(batch, points, 3), k, backend="plain")
    moments = Moments(draw(channels), draw(channels).abs() + 0.1) if running else None
    shapes = [(batch, points, channels)] * 2 + [(channels,)] * 2
    return [*(draw(*shape) for shape in shapes), draw(()).sigmoid()], graph, moments


def blend(form, leaves, graph, moments=None):
    source, center, scale, shift, weight = leaves
    return edge_blend(source, center, graph, Norm(scale, shift, moments), weight, backend=form)


def group_case(sizes, seed=0, *, gated=True, running=False, dtype=torch.float64):
    """Points to the outer shift; the members; the moments of both norms. ``sizes``: B, N, M, S, C, D, H."""
    batch, points, groups, members, channels, results, hidden = sizes
    draw = drawn(seed, dtype)
    index = torch.randint(points, (batch, groups, members), generator=torch.Generator().manual_seed(seed))
    shapes = [(batch, points, channels), (batch, groups, channels), (channels,), (channels,)]
    shapes += [(hidden, channels), (hidden,), (channels, hidden), (channels,)] * gated
    leaves = [draw(*shape) for shape in [*shapes, (results, channels), (results,), (results,)]]
    if gated:
        leaves[4] /= 4
    return leaves, index, [Moments(draw(c), draw(c).abs() + 0.1) if running else None for c in (channels, results)]


def perceive(form, leaves, index, moments=(None, None)):
    points, centers, scale, shift, *gate, weight, outer_scale, outer_shift = leaves
    inner, outer = Norm(scale, shift, moments[0]), Norm(outer_scale, outer_shift, moments[1])
    gate = GateWeights(*gate) if gate else None
    return group_perceptron(points, centers, index, inner, gate, weight, outer, backend=form)


def outcome(operation, form, leaves, *inputs, mask=1):
    """Value, moments, and the gradients of an arbitrary scalar of the values under ``mask``."""
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    value, *moments = operation(form, leaves, *inputs)
    probe = torch.linspace(-1, 2, value.numel(), dtype=torch.float64, device=value.device).sin().view_as(value) * mask
    gradients = torch.autograd.grad((value.double() * probe).sum(), leaves)
    return [value.detach(), *(moment for pair in moments for moment in pair), *gradients]


def assert_forms_agree(operation, inputs, bound=1e-10, largest=1.0, mask=1, part=slice(None)):
    """Relative to each tensor's largest number, and absolutely to ``largest``."""
    plain, fused = (outcome(operation, form, *inputs, mask=mask)[part] for form in FORMS)
    for one, other in zip(fused, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=bound, atol=bound * (largest + float(other.abs().max())))
