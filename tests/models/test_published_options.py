"""Released folders with other options: an independent reading of the released forward, on the released names."""

import json
from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from ogreid.errors import InputError
from ogreid.losses import IdentityHead
from ogreid.models import build_model
from ogreid.models.published import load_published, to_published_names

BASE = {
    "ASPP": 0,
    "bg": True,
    "cg": False,
    "class_num": 5,
    "cluster": "xyzrgb",
    "conv": "EdgeConv",
    "droprate": 0.7,
    "efficient": True,
    "feature_dims": [6, 10],
    "gem": True,
    "id_skip": 0,
    "init_points": 24,
    "k": 4,
    "no_se": False,
    "norm_layer": "bn2",
    "npart": 1,
    "num_conv": 1,
    "stride": 2,
    "use_dense": True,
}
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


def ours(options):
    """The options as arguments of our network, written out by hand."""
    widths = options["feature_dims"]
    wider = sum(b > a for a, b in pairwise(widths))
    return {
        "widths": tuple(widths),
        "k": options["k"],
        "convolutions": options["num_conv"],
        "kept": tuple(options["init_points"] // options["stride"] ** i for i in range(wider + 1)),
        "gate": not options["no_se"],
        "short_cut": ["none", "before", "after"][options["id_skip"]],
        "blend": "learned" if options["gem"] else "max",
        "last_graph": "appearance" if options["cluster"] == "xyzrgb" else "position",
    }


@pytest.fixture
def folder(tmp_path):
    """Writes a folder as the released training script does, with lively random values."""

    def write(prefix="module.", **changes):
        options = {**BASE, **changes}
        torch.manual_seed(0)
        network, head = build_model("ognet", **ours(options)), IdentityHead(512, 5)
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


def normal(state, name, rows):
    """BatchNorm in evaluation over axis 1, whatever follows."""
    mean, variance, weight, bias = (
        state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return functional.batch_norm(rows, mean, variance, weight, bias)


def graph_feature(position, features, k):
    near = torch.cdist(position, position).topk(k, largest=False).indices
    rows = torch.stack([cloud[index] for cloud, index in zip(features, near, strict=True)])
    own = features.unsqueeze(2).expand_as(rows)
    return torch.cat([rows - own, own], 3).permute(0, 3, 1, 2)


def sample(xyz, count):
    chosen, distance = [torch.zeros(len(xyz), dtype=torch.long)], torch.full(xyz.shape[:2], 1e10)
    distance[xyz.square().sum(2) <= 1e-3] = -1
    for _ in range(count - 1):
        last = torch.stack([cloud[i] for cloud, i in zip(xyz, chosen[-1], strict=True)])
        distance = torch.minimum(distance, (xyz - last.unsqueeze(1)).square().sum(2))
        chosen.append(distance.argmax(1))
    return torch.stack(chosen, 1)


def abstraction(state, name, xyz, kept, features, gated):
    centers = torch.stack([cloud[index] for cloud, index in zip(xyz, kept, strict=True)])
    results = []
    for branch, (radius, samples) in enumerate(((0.1, 8), (0.2, 16), (0.4, 32))):
        layer = f"{name}.mlps.{branch}"
        groups = torch.zeros(len(xyz), kept.shape[1], samples, dtype=torch.long)
        for b in range(len(xyz)):
            for m in range(kept.shape[1]):
                hits = ((xyz[b] - centers[b, m]).square().sum(1) < radius**2).nonzero().flatten()[:samples]
                groups[b, m] = hits[0] if len(hits) else 0
                groups[b, m, : len(hits)] = hits
        members = torch.stack(
            [cloud[index] for cloud, index in zip(torch.cat([xyz, features], 2), groups, strict=True)]
        )
        members = torch.cat([members[..., :3] - centers.unsqueeze(2), members[..., 3:]], 3).permute(0, 3, 1, 2)
        rows = normal(state, f"{layer}.1", functional.conv2d(members, state[f"{layer}.0.weight"]))
        place = 2
        if gated:
            gate, place = f"{layer}.2.se_", 3
            hidden = functional.conv2d(rows, state[f"{gate}reduce.weight"], state[f"{gate}reduce.bias"])
            door = functional.conv2d(
                hidden * hidden.sigmoid(), state[f"{gate}expand.weight"], state[f"{gate}expand.bias"]
            )
            rows = rows * door.sigmoid()
        rows = normal(state, f"{layer}.{place + 1}", functional.conv2d(rows, state[f"{layer}.{place}.weight"]))
        results.append(rows.relu().amax(3).transpose(1, 2))
    return centers, sum(results)


def released_forward(state, options, xyz, rgb):
    features, widths, convolution, reduction, points, last_width = (
        rgb,
        options["feature_dims"],
        0,
        0,
        options["init_points"],
        3,
    )
    for stage, width in enumerate(widths):
        before = features
        for _ in range(options["num_conv"]):
            weight, bias = state[f"conv.{convolution}.weight"], state[f"conv.{convolution}.bias"]
            if options["k"] == 1:
                rows = features.transpose(1, 2).unsqueeze(3)
            else:
                by_all = stage == len(widths) - 1 and options["cluster"] == "xyzrgb"
                rows = graph_feature(torch.cat([xyz, features], 2) if by_all else xyz, features, options["k"])
            rows = normal(state, f"bn.{convolution}", functional.conv2d(rows, weight, bias))
            share = state[f"agg.{convolution}.p"].sigmoid() if options["gem"] else 1.0
            blended = share * rows.amax(3) + (1 - share) * rows.mean(3)
            features = functional.leaky_relu(blended, 0.2).transpose(1, 2)
            convolution += 1

        def project(rows, width=width, last=last_width, number=reduction):
            if width == last:
                return rows
            weight, bias = (state[f"conv_s2.{number}.0.{part}"] for part in ("weight", "bias"))
            return functional.leaky_relu(functional.linear(rows, weight, bias), 0.2)

        mix = state["p_w"][stage].sigmoid() if options["id_skip"] else 0
        if options["id_skip"] == 1:
            features = mix * project(before) + (1 - mix) * features
        if width != last_width:
            if stage > 0:
                points //= options["stride"]
            kept = sample(xyz, points)
            xyz, features = abstraction(state, f"sa.{reduction}", xyz, kept, features, not options["no_se"])
            before = torch.stack([cloud[index] for cloud, index in zip(before, kept, strict=True)])
        if options["id_skip"] == 2:
            features = mix * project(before) + (1 - mix) * features
        reduction, last_width = reduction + (width != last_width), width
    pooled = torch.cat([features.amax(1), features.mean(1)], 1)
    embedding = normal(state, "bn_embs.0", functional.linear(pooled, state["embs.0.weight"]))
    return embedding, functional.linear(embedding, state["proj_output.weight"], state["proj_output.bias"])


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
        found = network(xyz, rgb)
        torch.testing.assert_close(found, embedding, rtol=1e-4, atol=1e-4 * float(embedding.abs().max()))
        torch.testing.assert_close(head.classifier(found), logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))
    assert not network.training and not head.training


def test_names_without_the_parallel_prefix_load_too(folder):
    path, _, state = folder(prefix="")
    network, _ = load_published(path)
    assert torch.equal(network.norm.bias, state["bn_embs.0.bias"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"npart": 4}, "npart: 4 has no counterpart in ogreid; only npart: 1 has"),
        ({"norm_layer": "ibn2"}, "norm_layer: 'ibn2'"),
        ({"ASPP": 1}, "ASPP: 1"),
        ({"pre_act": True}, "pre_act: True"),
        ({"use_DGCNN": True}, "use_DGCNN: True"),
        ({"conv": "SAGEConv"}, "conv: 'SAGEConv'"),
        ({"res_scale": 0.5}, "res_scale: 0.5"),
        ({"cluster": "rgb"}, "cluster: 'rgb' is unknown; one of 'xyz', 'xyzrgb'"),
        ({"id_skip": 3}, "id_skip: 3 is unknown"),
    ],
)
def test_an_option_without_a_counterpart_is_named(folder, changes, message):
    path, options, _ = folder()
    (path / "opts.yaml").write_text(json.dumps({**options, **changes}))
    with pytest.raises(InputError, match=message):
        load_published(path)


def test_options_and_weights_that_do_not_belong_together_are_told(folder):
    path, options, _ = folder()
    for changes, message in (
        ({"feature_dims": [6, 12]}, r"has shape \(.*\), opts.yaml asks for"),
        ({"num_conv": 2}, "is missing"),
        ({"gem": False}, "fits nothing"),
    ):
        (path / "opts.yaml").write_text(json.dumps({**options, **changes}))
        with pytest.raises(InputError, match=message):
            load_published(path)


def test_files_that_are_missing_or_broken_are_named(folder, tmp_path):
    path, _, _ = folder()
    with pytest.raises(InputError, match=r"model_lost\.pth: no such file; did you mean model_last\.pth"):
        load_published(path, "model_lost.pth")
    (path / "model_last.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read as a state dict"):
        load_published(path)
    (path / "opts.yaml").write_text("- a\n- list\n")
    with pytest.raises(InputError, match="expected one option on each line"):
        load_published(path)
    (path / "opts.yaml").write_text("k: 20\n")
    with pytest.raises(InputError, match="feature_dims is missing"):
        load_published(path)
    (path / "opts.yaml").unlink()
    with pytest.raises(InputError, match=r"opts.yaml: no such file"):
        load_published(path)


def test_code_inside_a_checkpoint_is_never_run(folder):
    path, _, _ = folder()

    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('code was run')",))

    torch.save({"module.conv.0.weight": Trap()}, path / "model_last.pth")
    with pytest.raises(InputError, match="cannot be read as a state dict"):
        load_published(path)
