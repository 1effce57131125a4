"""OG-Net: sizes, options, what it does and does not depend on, learning, export."""

import subprocess
import sys

import pytest
import torch

from ogreid.errors import InputError
from ogreid.losses import build_loss
from ogreid.models import MODELS, build_model
from ogreid.models.ognet import AppearanceGraph, PointConv

TINY = {"widths": (8, 16), "kept": (24, 12), "k": 5, "embedding": 16}


def clouds(batch=4, points=60, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.randn(batch, points, 3, generator=generator, dtype=dtype) * torch.tensor([0.3, 0.8, 0.2], dtype=dtype)
    return xyz, torch.rand(batch, points, 3, generator=generator, dtype=dtype) - 0.5


def tiny(seed=0, **overrides):
    torch.manual_seed(seed)
    return build_model("ognet", **{**TINY, **overrides}).double()


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "count"), [("ognet", 1_951_738), ("ognet_small", 1_200_833), ("ognet_deep", 2_470_498)]
)
def test_the_published_networks_have_exactly_the_published_parameters(name, count):
    network = build_model(name)
    assert parameters(network) == count
    assert network.width == 512


OPTIONS = [
    {},
    {"k": 1},
    {"convolutions": 2},
    {"gate": False},
    {"blend": "max"},
    {"blend": "mean"},
    {"last_graph": "position"},
    {"short_cut": "before"},
    {"short_cut": "after"},
    {"grouping": "nearest", "samples": (4, 6, 8)},
    {"widths": (8, 8, 16), "kept": (24, 12), "convolutions": 2, "short_cut": "after"},
    {"radii": (0.2, 0.5), "samples": (4, 9)},
    {"embedding": 7},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_trains_and_both_backends_agree(options):
    plain, fused = tiny(backend="plain", **options), tiny(backend="fused", **options)
    xyz, rgb = clouds(dtype=torch.float64)
    outputs = []
    for network in (plain, fused):
        embedding = network(xyz, rgb)
        embedding.square().sum().sin().backward()
        outputs.append(embedding)
    assert outputs[0].shape == (4, options.get("embedding", 16))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-8, atol=1e-8)
    for (name, mine), (_, other) in zip(fused.named_parameters(), plain.named_parameters(), strict=True):
        assert mine.grad is not None, f"{name} takes no part"
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-6, atol=1e-7, msg=name)
    for (name, mine), (_, other) in zip(fused.named_buffers(), plain.named_buffers(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_mixed_precision_keeps_moments_and_gradients_in_full_precision(backend):
    xyz, rgb = clouds(8)
    full, mixed = tiny(backend=backend).float(), tiny(backend=backend).float()
    full(xyz, rgb)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding = mixed(xyz, rgb)
    embedding.float().square().sum().backward()
    for name, buffer in full.named_buffers():
        if name.startswith("stages.0") and "running" in name:  # later stages also see other neighbors
            torch.testing.assert_close(mixed.get_buffer(name), buffer, rtol=0.02, atol=0.02, msg=name)
    for name, parameter in mixed.named_parameters():
        assert parameter.grad.dtype == torch.float32 and parameter.grad.isfinite().all(), name


def test_only_the_last_module_looks_for_neighbors_by_appearance():
    kinds = [isinstance(stage.graph, AppearanceGraph) for stage in build_model("ognet").stages]
    assert kinds == [False, False, False, True]
    assert not any(isinstance(m, AppearanceGraph) for m in build_model("ognet", last_graph="position").modules())


def test_k_1_is_no_graph_at_all():
    network = build_model("ognet", k=1)
    assert all(isinstance(stage.convolutions[0], PointConv) for stage in network.stages)
    assert not any(isinstance(m, AppearanceGraph) for m in network.modules())


def test_in_evaluation_a_cloud_does_not_depend_on_its_batch_mates():
    network = tiny().eval()
    xyz, rgb = clouds(5, dtype=torch.float64)
    torch.testing.assert_close(network(xyz, rgb)[1:2], network(xyz[1:2], rgb[1:2]))


def test_with_nearest_groups_only_the_first_point_of_the_order_matters():
    # What is invariant, exactly: the sampler starts at index 0, and ball query keeps the first hits in index order.
    # Groups of nearest points know no order, so any permutation that leaves index 0 in place changes nothing.
    network = tiny(grouping="nearest", samples=(4, 6, 8)).eval()
    xyz, rgb = clouds(dtype=torch.float64)
    order = torch.cat([torch.tensor([0]), 1 + torch.randperm(59, generator=torch.Generator().manual_seed(1))])
    torch.testing.assert_close(network(xyz[:, order], rgb[:, order]), network(xyz, rgb))


def test_with_full_balls_the_order_of_points_matters():
    network = tiny(radii=(0.5, 1.0, 2.0), samples=(2, 3, 4)).eval()
    xyz, rgb = clouds(dtype=torch.float64)
    order = torch.cat([torch.tensor([0]), torch.arange(59, 0, -1)])
    assert not torch.allclose(network(xyz[:, order], rgb[:, order]), network(xyz, rgb))


def test_with_balls_that_hold_every_hit_the_order_does_not_matter_either():
    network = tiny(radii=(0.2, 0.3), samples=(60, 60)).eval()
    xyz, rgb = clouds(dtype=torch.float64)
    order = torch.cat([torch.tensor([0]), torch.arange(59, 0, -1)])
    torch.testing.assert_close(network(xyz[:, order], rgb[:, order]), network(xyz, rgb))


def test_away_from_the_origin_moving_the_cloud_changes_nothing():
    # Positions enter as differences only; but the sampler never selects a point near the origin.
    network = tiny().eval()
    xyz, rgb = clouds(dtype=torch.float64)
    far = xyz + 10
    torch.testing.assert_close(network(far + torch.tensor([3.0, -2.0, 5.0]), rgb), network(far, rgb))


def test_a_mirrored_cloud_gives_another_embedding_only_through_the_groups():
    # Distances are the same in a mirror, but members of a group are seen from their center: x_j - x_i changes sign.
    network = tiny().eval()
    xyz, rgb = clouds(dtype=torch.float64)
    mirror = xyz * torch.tensor([-1.0, 1.0, 1.0])
    assert not torch.allclose(network(mirror, rgb), network(xyz, rgb))
    with torch.no_grad():
        for stage in network.stages:
            for branch in stage.reduction.branches:
                branch.inner.weight[:, 0] = 0
    torch.testing.assert_close(network(mirror, rgb), network(xyz, rgb))


def test_gradients_are_the_same_run_to_run():
    found = []
    for _ in range(2):
        network = tiny().float()
        network(*clouds()).square().sum().backward()
        found.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_network_learns_eight_identities_by_heart(seed):
    network = tiny(seed=seed).float()
    loss = build_loss("circle", 16, 8, dropout=0.0)
    identity = torch.arange(8).repeat_interleave(3)
    xyz, rgb = clouds(24, 48, seed=3)
    rgb = (0.3 * rgb + 0.8 * (clouds(8, 1, seed=4)[1][identity])).clamp(-0.5, 0.5)
    optimizer = torch.optim.Adam([*network.parameters(), *loss.parameters()], lr=0.01)
    for step in range(90):
        if step == 50:  # running statistics lag behind weights that still move fast
            optimizer.param_groups[0]["lr"] = 0.001
        optimizer.zero_grad()
        sum(loss(network(xyz, rgb), identity).values()).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        embedding = torch.nn.functional.normalize(network(xyz, rgb))
    similarity = (embedding @ embedding.T).fill_diagonal_(-2)
    same = (identity[:, None] == identity).fill_diagonal_(False)
    # mAP 1: the worst positive of every row stands before the best negative.
    worst = similarity.masked_fill(~same, 2).amin(1)
    best = similarity.masked_fill(identity[:, None] == identity, -2).amax(1)
    assert (worst > best).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # inside torch.export (pytorch/pytorch#150994)
@pytest.mark.filterwarnings("ignore::FutureWarning:torch")
def test_an_exported_network_agrees():
    network = tiny().float().eval()
    xyz, rgb = clouds()
    with torch.no_grad():
        exported = torch.export.export(network, (xyz, rgb))
        torch.testing.assert_close(exported.module()(xyz, rgb), network(xyz, rgb), rtol=1e-4, atol=1e-4)
    names = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert all(name.startswith(("aten.", "<built-in")) for name in names), "nothing but torch's own operators"


COMPILED = """
import torch
from ogreid.models import build_model

torch.manual_seed(0)
network = build_model("ognet", widths=(8, 16), kept=(24, 12), k=5, embedding=16)
xyz, rgb = torch.randn(4, 60, 3), torch.rand(4, 60, 3) - 0.5
gradients = []
for form in (network, torch.compile(network, backend="eager")):
    network.zero_grad()
    form(xyz, rgb).square().sum().backward()
    gradients.append([parameter.grad for parameter in network.parameters()])
assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
"""


def test_a_compiled_network_agrees_and_our_kernels_are_passed_by_silently():
    # In a process of its own: the type checks of this test run are not to be compiled.
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "dynamo" not in done.stderr.lower()


def test_a_sparse_cloud_is_kept_whole_where_it_has_fewer_points_than_are_kept():
    sparse = clouds(points=20, dtype=torch.float64)
    network = tiny().eval()
    torch.testing.assert_close(network(*sparse), _with_kept(network, (20, 12))(*sparse), rtol=0, atol=0)
    fewer = clouds(points=10, dtype=torch.float64)
    torch.testing.assert_close(network(*fewer), _with_kept(network, (10, 10))(*fewer), rtol=0, atol=0)


def _with_kept(network, kept):
    other = tiny(kept=kept).eval()
    other.load_state_dict(network.state_dict())
    return other


def test_too_few_points_for_the_neighbors_are_refused_in_one_line():
    with pytest.raises(InputError, match=r"k = 5 asked of 4 points"):
        tiny()(*clouds(points=4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kept": (24, 12, 6)}, "give 2 numbers, largest first"),
        ({"kept": (12, 24)}, "give 2 numbers, largest first"),
        ({"widths": (16, 8)}, "must not shrink"),
        ({"widths": ()}, "must not shrink"),
        ({"blend": "mox"}, "blend = 'mox' is unknown; did you mean max"),
        ({"short_cut": "afterr"}, "did you mean after"),
        ({"last_graph": "color"}, "known: appearance, position"),
        ({"grouping": "balls"}, "did you mean ball"),
        ({"backend": "cuda"}, "backend 'cuda' is unknown"),
    ],
)
def test_a_value_that_does_not_fit_is_named(options, message):
    with pytest.raises(InputError, match=message):
        tiny(**options)(*clouds(dtype=torch.float64))


def test_unknown_names_and_options_get_the_nearest():
    with pytest.raises(InputError, match="did you mean ognet_small"):
        build_model("ognet_smal")
    with pytest.raises(InputError, match="has no option 'width'; did you mean widths"):
        build_model("ognet_small", width=(4, 8))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_says_its_width(name):
    assert isinstance(build_model(name).width, int)


def test_the_histogram_counts_colors_and_nothing_else():
    xyz, rgb = clouds()
    network = build_model("histogram")
    found = network(xyz, rgb)
    assert parameters(network) == 0
    assert network.width == 512
    assert found.norm(dim=1) == pytest.approx(1)
    torch.testing.assert_close(network(7 * xyz, rgb[:, torch.randperm(60)]), found)
    one = network(xyz[:, :2], torch.tensor([[[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]]]).expand(4, 2, 3))
    assert one[0, [0, 511]] == pytest.approx(0.5**0.5)
