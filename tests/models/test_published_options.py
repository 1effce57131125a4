"""Released folders with other options against an independent form of the released forward, on the released names.

Sampling and ball query are the plain operations, which tests/ops compares with loops.
"""

import json
from itertools import pairwise

import pytest
import torch
import yaml
from torch.nn import functional

from ogreid.errors import InputError
from ogreid.losses import IdentityHead
from ogreid.models import build_model
from ogreid.models.published import load_published, to_published_names
from ogreid.ops import ball, farthest_points

BASE = yaml.safe_load("""
{ASPP: 0, bg: true, cg: false, class_num: 5, cluster: xyzrgb, conv: EdgeConv, droprate: 0.7, efficient: true,
 feature_dims: [6, 10], gem: true, id_skip: 0, init_points: 24, k: 4, no_se: false, norm_layer: bn2, npart: 1,
 num_conv: 1, stride: 2, use_dense: true}
""")
VARIANTS = [
    {},
    {"feature_dims": [8, 14, 14, 52], "k": 7},
    {"cluster": "xyz"},
    {"gem": False},
    {"no_se": True},
    {"id_skip": 1},
    {"id_skip": 2, "feature_dims": [6, 6, 10, 10], "num_conv": 2},
    {"num_conv": 3},
    {"init_points": 40, "stride": 4},
    {"k": 1, "gem": False, "norm_layer": "bn"},
    {"id_skip": 1, "no_se": True, "gem": False, "cluster": "xyz", "num_conv": 2},
]


def overrides(options):
    """The options as arguments of our network, written out by hand."""
    widths = options["feature_dims"]
    wider = sum(b > a for a, b in pairwise(widths))
    return {
        "channels": tuple(widths),
        "k": options["k"],
        "convolutions": options["num_conv"],
        "num_kept": tuple(options["init_points"] // options["stride"] ** i for i in range(wider + 1)),
        "gate": not options["no_se"],
        "residual": ["none", "before", "after"][options["id_skip"]],
        "blend": "learned" if options["gem"] else "max",
        "last_graph": "appearance" if options["cluster"] == "xyzrgb" else "position",
    }


@pytest.fixture
def folder(tmp_path):
    """Writes a folder as the released training script does, with lively random values."""

    def write(prefix="module.", **changes):
        options = {**BASE, **changes}
        torch.manual_seed(0)
        network, head = build_model("ognet", **overrides(options)), IdentityHead(512, 5)
        state = to_published_names(network, head)
        for name, value in state.items():
            if "running_var" in name:
                value.uniform_(0.5, 2)
            elif value.is_floating_point() and (value.dim() < 2 or "proj" in name):
                value.normal_(0.5, 0.5)
        (tmp_path / "opts.yaml").write_text(json.dumps(options))  # JSON is YAML
        torch.save({f"{prefix}{name}": value for name, value in state.items()}, tmp_path / "model_last.pth")
        return tmp_path, options, state

    return write


def take(rows, index):
    return torch.stack([cloud[members] for cloud, members in zip(rows, index, strict=True)])


def conv(state, name, rows):
    return functional.conv2d(rows, state[f"{name}.weight"], state.get(f"{name}.bias"))


def linear(state, name, rows):
    return functional.linear(rows, state[f"{name}.weight"], state.get(f"{name}.bias"))


def normal(state, name, rows):
    """BatchNorm in evaluation over axis 1, whatever follows."""
    parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return functional.batch_norm(rows, *parts)


def graph_feature(position, features, k):
    near = take(features, torch.cdist(position, position).topk(k, largest=False).indices)
    own = features.unsqueeze(2).expand_as(near)
    return torch.cat([near - own, own], 3).permute(0, 3, 1, 2)


def abstraction(state, name, xyz, centers, features, gated):
    total = 0
    for branch, (radius, samples) in enumerate(((0.1, 8), (0.2, 16), (0.4, 32))):
        layer = f"{name}.mlps.{branch}"
        members = take(torch.cat([xyz, features], 2), ball(xyz, centers, radius, samples, backend="plain"))
        members[..., :3] -= centers.unsqueeze(2)
        rows = normal(state, f"{layer}.1", conv(state, f"{layer}.0", members.permute(0, 3, 1, 2)))
        if gated:
            hidden = conv(state, f"{layer}.2.se_reduce", rows)
            rows = rows * conv(state, f"{layer}.2.se_expand", hidden * hidden.sigmoid()).sigmoid()
        rows = normal(state, f"{layer}.{3 + gated}", conv(state, f"{layer}.{2 + gated}", rows))
        total = total + rows.relu().amax(3).transpose(1, 2)
    return total


def released_forward(state, options, xyz, rgb):
    features, points = rgb, options["init_points"]
    convolution = reduction = 0
    for stage, (last_width, width) in enumerate(pairwise([3, *options["feature_dims"]])):
        before = features
        for _ in range(options["num_conv"]):
            by_all = stage == len(options["feature_dims"]) - 1 and options["cluster"] == "xyzrgb"
            position = torch.cat([xyz, features], 2) if by_all else xyz
            graph = options["k"] > 1
            rows = graph_feature(position, features, options["k"]) if graph else features.mT.unsqueeze(3)
            rows = normal(state, f"bn.{convolution}", conv(state, f"conv.{convolution}", rows))
            weight = state[f"agg.{convolution}.p"].sigmoid() if options["gem"] else 1.0
            features = functional.leaky_relu(weight * rows.amax(3) + (1 - weight) * rows.mean(3), 0.2).mT
            convolution += 1

        def mix(before, after, place, stage=stage, wider=width != last_width, number=reduction):
            if options["id_skip"] != place:
                return after
            weight = state["p_w"][stage].sigmoid()
            if wider:
                before = functional.leaky_relu(linear(state, f"conv_s2.{number}.0", before), 0.2)
            return weight * before + (1 - weight) * after

        features = mix(before, features, 1)
        if width != last_width:
            points //= options["stride"] if stage else 1
            index = farthest_points(xyz, points, skip_origin=True, backend="plain")
            centers = take(xyz, index)
            features = abstraction(state, f"sa.{reduction}", xyz, centers, features, not options["no_se"])
            xyz, before, reduction = centers, take(before, index), reduction + 1
        features = mix(before, features, 2)
    pooled = torch.cat([features.amax(1), features.mean(1)], 1)
    embedding = normal(state, "bn_embs.0", linear(state, "embs.0", pooled))
    return embedding, linear(state, "proj_output", embedding)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_any_released_folder_gives_what_the_released_forward_gives(folder, changes):
    path, options, state = folder(**changes)
    network, head = load_published(path)
    generator = torch.Generator().manual_seed(1)
    xyz = torch.randn(2, 70, 3, generator=generator) * torch.tensor([0.2, 0.5, 0.1])
    xyz[:, 20:23] *= 0.01
    rgb = torch.rand(2, 70, 3, generator=generator) - 0.5
    with torch.no_grad():
        embedding, logits = released_forward(state, options, xyz, rgb)
        ours = network(xyz, rgb)
        torch.testing.assert_close(ours, embedding, rtol=1e-4, atol=1e-4 * float(embedding.abs().max()))
        torch.testing.assert_close(head.classifier(ours), logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))
    assert not network.training and not head.training


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "network.", "module._orig_mod.network.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_dropped(folder, prefix):
    path, _, state = folder(prefix=prefix)
    network, _ = load_published(path)
    assert torch.equal(network.norm.bias, state["bn_embs.0.bias"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"npart": 4}, "npart: expected 1, got 4"),
        ({"norm_layer": "ibn2"}, "norm_layer.*ibn2"),
        ({"ASPP": 1}, "ASPP"),
        ({"pre_act": True}, "pre_act"),
        ({"use_DGCNN": True}, "use_DGCNN"),
        ({"conv": "SAGEConv"}, "SAGEConv"),
        ({"res_scale": 0.5}, "res_scale"),
        ({"cluster": "rgb"}, "cluster.*'xyz' or 'xyzrgb'"),
        ({"cluster": ["xyz"]}, "cluster"),
        ({"id_skip": 3}, "id_skip"),
        ({"feature_dims": []}, "feature_dims"),
        ({"k": "many"}, "whole number"),
        ({"class_num": 0}, "identity"),
        # Options and weights that do not belong together.
        ({"feature_dims": [6, 12]}, "shape"),
        ({"num_conv": 2}, "is missing"),
        ({"gem": False}, "is not part"),
    ],
)
def test_options_without_a_counterpart_or_of_other_weights_are_named(folder, changes, words):
    path, options, _ = folder()
    (path / "opts.yaml").write_text(json.dumps({**options, **changes}))
    with pytest.raises(InputError, match=words):
        load_published(path)


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


def test_weights_that_are_a_program_are_not_run(folder):
    path, _, _ = folder()
    torch.save({"module.conv.0.weight": Trap()}, path / "model_last.pth")
    with pytest.raises(InputError, match="state dict"):
        load_published(path)
