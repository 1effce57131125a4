"""Networks that the authors released: their options file, and their names for our parameters."""

from collections.abc import Hashable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ogreid import files
from ogreid.errors import InputError, nearest_names
from ogreid.losses import IdentityHead
from ogreid.models.ognet import GraphModule, OGNet
from ogreid.models.layers.abstraction import GroupBranch

__all__ = ["from_published_names", "load_published", "published_overrides", "to_published_names"]

# What an option must be where ours has no such variant; what no table names changes training or loading only.
_FIXED: dict[str, tuple[object, ...]] = {
    "ASPP": (0,),
    "cg": (False,),
    "conv": ("EdgeConv",),
    "efficient": (True,),
    "layer_drop": (0,),
    "light": (False,),
    "no_xyz": (False,),
    "norm_layer": ("bn2",),
    "npart": (1,),
    "pre_act": (False,),
    "res_scale": (1,),
    "shuffle": (0, False, None),
    "use2": (False,),
    "use_DGCNN": (False,),
    "use_MSG": (False,),
    "use_SSG": (False,),
    "use_dense": (True,),
    "use_dense2": (False,),
}

_NUMBERS = {"k": 20, "num_conv": 1, "init_points": 512, "stride": 2, "id_skip": 0}
_MOST = 64  # modules, convolutions in each, and the stride: far beyond any released network


def load_published(
    folder: str | Path, weights: str = "model_last.pth", *, backend: str = "auto"
) -> tuple[OGNet, IdentityHead]:
    """A released network and its classifier, in evaluation mode.

    Args:
        folder: holds ``opts.yaml`` and the weights.
        weights: ``model_last.pth`` or ``model_average.pth``.
        backend: of the operations on points.

    Returns:
        ``(network, head)``; ``head.classifier(network(xyz, rgb))`` are the logits.

    Raises:
        InputError: a missing or unreadable file; an option value that has no counterpart here; weights whose names or
            shapes differ from what the options say.

    Source: layumi/person-reid-3d, ``ModelE_dense`` (MIT). Loading is strict, and never runs pickled code.
    """
    folder = Path(folder)
    options = _read_options(folder / "opts.yaml")
    overrides = _overrides(options, folder / "opts.yaml")
    state = _read_weights(folder / weights)
    # Options may ask for any size. The network takes memory only after the weights, which are there, turned out to fit.
    with torch.device("meta"):
        network, head = _build(overrides, options, folder / "opts.yaml", backend)
        renamed = from_published_names(state, network)
        _check_strictly(network, head, renamed, folder / weights)
    network, head = _build(overrides, options, folder / "opts.yaml", backend)
    with torch.no_grad():
        for name, value in _parameters(network, head).items():
            value.copy_(renamed[name])
    return network.eval(), head.eval()


def _build(
    overrides: Mapping[str, Any], options: Mapping[str, Any], path: Path, backend: str
) -> tuple[OGNet, IdentityHead]:
    try:
        network = OGNet(**overrides, backend=backend)
        dropout = float(options.get("droprate", 0.5))
        return network, IdentityHead(network.width, int(options["class_num"]), dropout=dropout)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path}: no network can be built from it ({str(error).splitlines()[0][:120]})") from error


def _read_options(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    if not path.is_file():
        raise InputError(f"{path}: no such file; a published network is a folder with opts.yaml and model_last.pth")
    try:
        options = OmegaConf.to_container(files.read_yaml(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(options, dict):
        raise InputError(f"{path}: expected one option on each line, got {type(options).__name__}")
    return {str(key): value for key, value in options.items()}


def published_overrides(folder: str | Path) -> dict[str, Any]:
    """What a released options file says of the network, as arguments of ``build_model("ognet")``.

    Raises:
        InputError: no such file, or an option value that has no counterpart here.
    """
    path = Path(folder) / "opts.yaml"
    return _overrides(_read_options(path), path)


def _overrides(options: dict[str, Any], path: Path) -> dict[str, Any]:
    for key, allowed in _FIXED.items():
        if key == "norm_layer" and options.get("k") == 1:
            continue  # without a graph there are no edges: BatchNorm over points either way
        if key in options and options[key] not in allowed:
            raise InputError(
                f"{path}: {key}: {options[key]!r} has no counterpart in ogreid; only {key}: {allowed[0]!r} has"
            )
    for key in ("feature_dims", "k", "class_num"):
        if key not in options:
            raise InputError(f"{path}: {key} is missing; this is no options file of the released code")
    try:
        widths = tuple(int(width) for width in options["feature_dims"])
        numbers = {key: int(options.get(key, usual)) for key, usual in _NUMBERS.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: feature_dims, {' or '.join(_NUMBERS)} is no whole number ({error})") from error
    if not 0 < len(widths) <= _MOST or min(numbers.values()) < 0 or max(numbers["num_conv"], numbers["stride"]) > _MOST:
        raise InputError(f"{path}: {len(widths)} feature_dims, {numbers}; expected 1 to {_MOST}")
    skips = {0: "none", 1: "before", 2: "after"}
    graphs = {"xyz": "position", "xyzrgb": "appearance"}
    return {
        "widths": list(widths),
        "k": numbers["k"],
        "convolutions": numbers["num_conv"],
        "kept": list(_kept(widths, numbers["init_points"], max(numbers["stride"], 1))),
        "gate": not options.get("no_se", False),
        "short_cut": _translate(path, "id_skip", numbers["id_skip"], skips),
        "blend": "learned" if options.get("gem", False) else "max",
        "last_graph": _translate(path, "cluster", options.get("cluster", "xyz"), graphs),
    }


def _translate(path: Path, key: str, value: object, known: Mapping[Any, str]) -> str:
    if not isinstance(value, Hashable) or value not in known:
        names = ", ".join(map(repr, known))
        raise InputError(f"{path}: {key}: {value!r} is unknown; one of {names}")
    return known[value]


def _kept(widths: tuple[int, ...], first: int, stride: int) -> tuple[int, ...]:
    """``first`` points after the first module, ``stride`` times fewer after each wider one."""
    wider = sum(after > before for before, after in pairwise(widths))
    kept = [first]
    for _ in range(wider):
        kept.append(kept[-1] // stride)
    return tuple(kept)


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        beside = sorted(file.name for file in path.parent.glob("*.pth"))
        raise InputError(
            f"{path}: no such file; {nearest_names(path.name, beside) if beside else 'the folder holds no .pth'}"
        )
    try:
        state = files.read_tensors(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a state dict ({str(error).splitlines()[0][:120]})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: expected a state dict of tensors, as the released training script writes it")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _parameters(network: OGNet, head: IdentityHead) -> dict[str, Tensor]:
    """Parameters and buffers of both, by our names."""
    ours = {f"network.{name}": value for name, value in network.state_dict().items()}
    return ours | {f"head.{name}": value for name, value in head.state_dict().items()}


def _check_strictly(network: OGNet, head: IdentityHead, state: dict[str, Tensor], path: Path) -> None:
    ours = _parameters(network, head)
    for name in sorted(ours.keys() | state.keys()):
        if name not in state:
            raise InputError(f"{path}: {name} is missing; do opts.yaml and the weights belong together?")
        if name not in ours:
            raise InputError(f"{path}: {name} fits nothing; do opts.yaml and the weights belong together?")
    for name in ours:
        if ours[name].shape != state[name].shape:
            raise InputError(
                f"{path}: {name} has shape {tuple(state[name].shape)}, opts.yaml asks for {tuple(ours[name].shape)}"
            )


def from_published_names(state: dict[str, Tensor], network: OGNet) -> dict[str, Tensor]:
    """The released tensors under our names and in our shapes; what has no counterpart keeps its name.

    A 1x1 convolution loses its two last axes, a one-element parameter its only one, and the vector of short-cut weights
    is cut into one scalar for each module. ``logit_scale``, which nothing uses, is dropped.
    """
    theirs = {name: value for name, value in state.items() if name not in ("logit_scale", "p_w")}
    mixed = state.get("p_w", torch.zeros(0))
    theirs |= {f"p_w.{stage}": value for stage, value in enumerate(mixed.reshape(-1)[: len(network.stages) + 1])}
    names = {released: ours for ours, released in _names(network).items()}
    return {names.get(name, name): _without_unit_axes(name, value) for name, value in theirs.items()}


def to_published_names(network: OGNet, head: IdentityHead) -> dict[str, Tensor]:
    """The inverse of :func:`from_published_names`: what the released code's ``load_state_dict`` takes."""
    ours = _parameters(network, head)
    state = {released: _with_unit_axes(released, ours[name]) for name, released in _names(network).items()}
    mixed = [state.pop(name) for name in sorted(state, key=_stage_number) if name.startswith("p_w.")]
    return {"p_w": torch.stack(mixed), **state} if mixed else state


def _names(network: OGNet) -> dict[str, str]:
    """Our names to the released ones, for every parameter and buffer of network and head."""
    table: dict[str, str] = {}
    convolution = reduction = 0
    for number, stage in enumerate(network.stages):
        assert isinstance(stage, GraphModule)
        here = f"network.stages.{number}"
        for inner in range(len(stage.convolutions)):
            for ours, theirs in (("linear", "conv"), ("norm", "bn"), ("blend", "agg")):
                table[f"{here}.convolutions.{inner}.{ours}"] = f"{theirs}.{convolution}"
            convolution += 1
        for join in ("near", "far"):
            table[f"{here}.{join}.project.0"] = f"conv_s2.{reduction}.0"
            table[f"{here}.{join}.logit"] = f"p_w.{number}"
        if stage.reduction is not None:
            for scale, branch in enumerate(stage.reduction.branches):
                assert isinstance(branch, GroupBranch)
                second = 2 if branch.gate is None else 3  # places in the released nn.Sequential
                layers = {"inner": "0", "inner_norm": "1", "outer": f"{second}", "outer_norm": f"{second + 1}"}
                layers |= {"gate.reduce": "2.se_reduce", "gate.expand": "2.se_expand"}
                for ours, theirs in layers.items():
                    table[f"{here}.reduction.branches.{scale}.{ours}"] = f"sa.{reduction}.mlps.{scale}.{theirs}"
            reduction += 1
    table |= {"network.project": "embs.0", "network.norm": "bn_embs.0", "head.classifier": "proj_output"}
    return {name: _released(table, name) for name in _parameter_names(network)}


def _parameter_names(network: OGNet) -> list[str]:
    head = ["head.classifier.weight", "head.classifier.bias"]
    return [f"network.{name}" for name in network.state_dict()] + head


def _released(table: dict[str, str], name: str) -> str:
    if name in table:
        return table[name]
    owner, leaf = name.rsplit(".", 1)
    return f"{table[owner]}.{'p' if leaf == 'logit' else leaf}"


def _stage_number(name: str) -> int:
    return int(name.rsplit(".", 1)[1]) if name.startswith("p_w.") else -1


def _without_unit_axes(name: str, value: Tensor) -> Tensor:
    if name.startswith("agg.") and value.numel() == 1:
        return value.reshape(())
    return value.flatten(1) if value.dim() == 4 else value


def _with_unit_axes(name: str, value: Tensor) -> Tensor:
    if name.startswith("agg."):
        return value.reshape(1)
    convolution = name.startswith(("conv.", "sa.")) and value.dim() == 2
    return value[:, :, None, None] if convolution else value
