"""OG-Net: its options, what it does and does not depend on, learning, export."""

import subprocess
import sys

import pytest
import torch

from ogreid.losses import CircleLoss, IdentityHead
from ogreid.models import build_model

TINY = {"channels": (8, 16), "num_kept": (24, 12), "k": 5, "embedding": 16}
ORDER = torch.cat([torch.tensor([0]), torch.arange(59, 0, -1)])  # the sampler starts at index 0


def tiny(seed=0, **overrides):
    torch.manual_seed(seed)
    return build_model("ognet", **{**TINY, **overrides}).double()


@pytest.fixture
def cloud(clouds):
    return clouds(dtype=torch.float64)


OPTIONS = [
    {},
    {"k": 1},
    {"convolutions": 2},
    {"gate": False},
    {"blend": "max"},
    {"blend": "mean"},
    {"convolution": "sum"},
    {"convolution": "sage"},
    {"convolution": "gat"},
    {"last_graph": "position"},
    {"residual": "before"},
    {"residual": "after"},
    {"grouping": "nearest", "num_samples": (4, 6, 8)},
    {"channels": (8, 8, 16), "num_kept": (24, 12), "convolutions": 2, "residual": "after"},
    {"radii": (0.2, 0.5), "num_samples": (4, 9)},
    {"embedding": 7},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_trains_and_both_backends_agree(options, cloud):
    plain, fused = tiny(backend="plain", **options), tiny(backend="fused", **options)
    outputs = []
    for network in (plain, fused):
        embedding = network(*cloud)
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
def test_mixed_precision_keeps_moments_and_gradients_in_full_precision(backend, clouds):
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


def test_in_evaluation_a_cloud_does_not_depend_on_its_batch_mates(clouds):
    network = tiny().eval()
    xyz, rgb = clouds(5, dtype=torch.float64)
    torch.testing.assert_close(network(xyz, rgb)[1:2], network(xyz[1:2], rgb[1:2]))


@pytest.mark.parametrize(
    ("options", "invariant"),
    [
        # Groups of nearest points know no order, so a permutation that leaves index 0 in place changes nothing.
        ({"grouping": "nearest", "num_samples": (4, 6, 8)}, True),
        # Balls keep the first hits in index order: it matters where there are more, and only there.
        ({"radii": (0.5, 1.0, 2.0), "num_samples": (2, 3, 4)}, False),
        ({"radii": (0.2, 0.3), "num_samples": (60, 60)}, True),
    ],
)
def test_the_order_of_points_matters_to_full_balls_only(options, invariant, cloud):
    network, (xyz, rgb) = tiny(**options).eval(), cloud
    assert torch.allclose(network(xyz[:, ORDER], rgb[:, ORDER]), network(xyz, rgb), rtol=1e-7) == invariant


def test_away_from_the_origin_moving_the_cloud_changes_nothing(cloud):
    # Positions enter as differences only; but the sampler never selects a point near the origin.
    network, (xyz, rgb) = tiny().eval(), cloud
    far = xyz + 10
    torch.testing.assert_close(network(far + torch.tensor([3.0, -2.0, 5.0]), rgb), network(far, rgb))


def test_a_mirrored_cloud_gives_another_embedding_only_through_the_groups(cloud):
    # Distances are the same in a mirror, but members of a group are seen from their center: x_j - x_i changes sign.
    network, (xyz, rgb) = tiny().eval(), cloud
    mirror = xyz * torch.tensor([-1.0, 1.0, 1.0])
    assert not torch.allclose(network(mirror, rgb), network(xyz, rgb))
    with torch.no_grad():
        for stage in network.stages:
            for branch in stage.reduction.branches:
                branch.inner.weight[:, 0] = 0
    torch.testing.assert_close(network(mirror, rgb), network(xyz, rgb))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_network_learns_eight_identities_by_heart(seed, clouds):
    network, head, circle = tiny(seed=seed).float(), IdentityHead(16, 8, dropout=0.0), CircleLoss()
    identity = torch.arange(8).repeat_interleave(3)
    xyz, rgb = clouds(24, 48, seed=3)
    rgb = (0.3 * rgb + 0.8 * (clouds(8, 1, seed=4)[1][identity])).clamp(-0.5, 0.5)
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=0.01)
    for step in range(90):
        if step == 50:  # running statistics lag behind weights that still move fast
            optimizer.param_groups[0]["lr"] = 0.001
        optimizer.zero_grad()
        embedding = network(xyz, rgb)
        (head.cross_entropy(embedding, identity) + circle(embedding, identity)).backward()
        optimizer.step()
    with torch.no_grad():
        embedding = torch.nn.functional.normalize(network.eval()(xyz, rgb))
    similarity, same = embedding @ embedding.T, identity[:, None] == identity
    # mAP 1: the worst positive of every row stands before the best negative.
    assert (similarity.masked_fill(~same, 2).amin(1) > similarity.masked_fill(same, -2).amax(1)).all()


COMPILED = """
import torch
from ogreid.models import build_model

torch.manual_seed(0)
network = build_model("ognet", channels=(8, 16), num_kept=(24, 12), k=5, embedding=16)
xyz, rgb = torch.randn(4, 60, 3), torch.rand(4, 60, 3) - 0.5
gradients = []
for form in (network, torch.compile(network, backend="eager")):
    network.zero_grad()
    form(xyz, rgb).square().sum().backward()
    gradients.append([parameter.grad for parameter in network.parameters()])
assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
"""


def test_a_compiled_network_agrees_and_leaves_our_kernels_out_silently():
    # In a process of its own: the type checks of this test run are not to be compiled.
    result = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "dynamo" not in result.stderr.lower()


@pytest.mark.parametrize(("points", "num_kept"), [(20, (20, 12)), (10, (10, 10))])
def test_a_cloud_of_fewer_points_than_are_kept_is_kept_whole(points, num_kept, clouds):
    sparse, network = clouds(points=points, dtype=torch.float64), tiny().eval()
    other = tiny(num_kept=num_kept).eval()
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(*sparse), other(*sparse), rtol=0, atol=0)
