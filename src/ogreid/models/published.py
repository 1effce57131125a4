"""Networks that the authors released: their options file, and their names for our parameters."""

import re
from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from operator import floordiv
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ogreid import files
from ogreid.errors import InputError, MissingFileError, nearest_names
from ogreid.losses import IdentityHead
from ogreid.models.ognet import OGNet

Published = tuple[OGNet, IdentityHead]
# The values that have a counterpart here; an option that no table names changes training or loading only.
_OFF = ("cg", "light", "no_xyz", "pre_act", "use2", "use_DGCNN", "use_MSG", "use_SSG", "use_dense2")
_CHOICES: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(_OFF, (False,)),
    **dict.fromkeys(("efficient", "use_dense"), (True,)),
    **dict.fromkeys(("ASPP", "layer_drop"), (0,)),
    **dict.fromkeys(("npart", "res_scale"), (1,)),
    "conv": ("EdgeConv",),
    "norm_layer": ("bn2",),
    "shuffle": (0, False, None),
    "cluster": ("xyz", "xyzrgb"),
    "id_skip": (0, 1, 2),
}
_NUMBERS = {"k": 20, "num_conv": 1, "init_points": 512, "stride": 2, "id_skip": 0}
_CONVOLUTION = {"linear": "conv", "norm": "bn", "blend": "agg"}
_MOST = 64  # modules, convolutions in each, and the stride: far beyond any released network
_WRAPPERS = re.compile(r"^((module|_orig_mod|network)\.)+")


def load_published(folder: str | Path, weights: str = "model_last.pth", *, backend: str = "auto") -> Published:
    """A released network and its classifier, in evaluation mode.

    Args:
        folder: holds ``opts.yaml`` and the weights.
        weights: ``model_last.pth`` or ``model_average.pth``. Names may carry the prefixes ``module.``, ``_orig_mod.``
            and ``network.`` in any combination.
        backend: of the operations on points.

    Returns:
        ``(network, head)``; ``head.classifier(network(xyz, rgb))`` are the logits.

    Raises:
        MissingFileError: no such file.
        InputError: an unreadable file; an option value that has no counterpart here; weights whose names or shapes
            differ from what the options say.

    Source: layumi/person-reid-3d, ``ModelE_dense`` (MIT). Loading is strict, and never runs pickled code.
    """
    path = Path(folder) / "opts.yaml"
    options = _read_options(path)
    overrides = _overrides(options, path)
    state = _read_weights(Path(folder) / weights)
    # Options may ask for any size: memory is allocated only after the weights turned out to fit.
    with torch.device("meta"):
        network, head = _build(overrides, options, path, backend)
        renamed = from_published_names(state, network)
        _check_fit(_whole(network, head).state_dict(), renamed, Path(folder) / weights)
    network, head = _build(overrides, options, path, backend)
    _whole(network, head).load_state_dict(renamed)
    return network.eval(), head.eval()


def published_overrides(folder: str | Path) -> dict[str, Any]:
    """What a released options file says of the network, as arguments of ``build_model("ognet")``."""
    path = Path(folder) / "opts.yaml"
    return _overrides(_read_options(path), path)


def unwrapped_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict without the prefixes of DataParallel, ``torch.compile`` and a module around the network."""
    return {_WRAPPERS.sub("", str(name)): value for name, value in state.items()}


def _build(overrides: Mapping[str, Any], options: Mapping[str, Any], path: Path, backend: str) -> Published:
    try:
        network = OGNet(**overrides, backend=backend)
        dropout = float(options.get("droprate", 0.5))
        return network, IdentityHead(network.width, int(options["class_num"]), dropout=dropout)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path}: no network can be built from it ({str(error).splitlines()[0][:120]})") from error


def _whole(network: OGNet, head: IdentityHead) -> nn.Module:
    return nn.ModuleDict({"network": network, "head": head})


def _read(path: Path, read: Callable[[Path], Any], kind: str, hint: str) -> Any:  # noqa: ANN401 - what the file holds
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; {hint}")
    try:
        return read(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as {kind} ({str(error).splitlines()[0][:120]})") from error


def _read_options(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    hint = "expected a folder with opts.yaml and model_last.pth"
    options = OmegaConf.to_container(_read(path, files.read_yaml, "YAML", hint))
    if not isinstance(options, dict):
        raise InputError(f"{path}: expected one option per line, got {type(options).__name__}")
    return {str(key): value for key, value in options.items()}


def _read_weights(path: Path) -> dict[str, Tensor]:
    near = [file.name for file in path.parent.glob("*.pth")]
    hint = nearest_names(path.name, near) if near else "the folder holds no .pth"
    state = _read(path, files.read_tensors, "a state dict", hint)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: expected a state dict of tensors, as the released training script writes it")
    return unwrapped_names(state)


def _overrides(options: dict[str, Any], path: Path) -> dict[str, Any]:
    for key, values in _CHOICES.items():
        if key == "norm_layer" and options.get("k") == 1:
            continue  # without a graph there are no edges: BatchNorm over points either way
        if key in options and options[key] not in values:
            raise InputError(f"{path}: {key}: expected {' or '.join(map(repr, values))}, got {options[key]!r}")
    for key in ("feature_dims", "k", "class_num"):
        if key not in options:
            raise InputError(f"{path}: {key} is missing; this is no options file of the released code")
    try:
        channels = [int(width) for width in options["feature_dims"]]
        numbers = {key: int(options.get(key, usual)) for key, usual in _NUMBERS.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: feature_dims, {' or '.join(_NUMBERS)} is no whole number ({error})") from error
    if not channels or min(numbers.values()) < 0 or max(len(channels), numbers["num_conv"], numbers["stride"]) > _MOST:
        raise InputError(f"{path}: {len(channels)} feature_dims, {numbers}; expected 1 to {_MOST}")
    # `init_points` after the first module, `stride` times fewer after each wider one.
    strides = [max(numbers["stride"], 1) for before, after in pairwise(channels) if after > before]
    return {
        "channels": channels,
        "k": numbers["k"],
        "convolutions": numbers["num_conv"],
        "num_kept": list(accumulate(strides, floordiv, initial=numbers["init_points"])),
        "gate": not options.get("no_se", False),
        "residual": ("none", "before", "after")[numbers["id_skip"]],
        "blend": "learned" if options.get("gem", False) else "max",
        "last_graph": "appearance" if options.get("cluster") == "xyzrgb" else "position",
    }


def _check_fit(ours: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path) -> None:
    for name in sorted(ours.keys() ^ state.keys()):
        problem = "is missing" if name in ours else "is not part of the network"
        raise InputError(f"{path}: {name} {problem}; do opts.yaml and the weights belong together?")
    for name, value in ours.items():
        if value.shape != state[name].shape:
            expected, shape = tuple(value.shape), tuple(state[name].shape)
            raise InputError(f"{path}: {name}: expected shape {expected}, as opts.yaml says, got {shape}")


def from_published_names(state: dict[str, Tensor], network: OGNet) -> dict[str, Tensor]:
    """The released tensors under our names and in our shapes; what has no counterpart keeps its name.

    A 1x1 convolution loses its two last axes, a one-element parameter its only one, and the vector of residual weights
    is cut into one scalar per module. ``logit_scale``, which nothing uses, is dropped.
    """
    theirs = {name: value for name, value in state.items() if name not in ("logit_scale", "p_w")}
    weights = state.get("p_w", torch.zeros(0)).reshape(-1)[: len(network.stages) + 1]
    theirs |= {f"p_w.{stage}": value for stage, value in enumerate(weights)}
    names = {released: ours for ours, released in _names(network).items()}
    return {names.get(name, name): _without_unit_axes(name, value) for name, value in theirs.items()}


def to_published_names(network: OGNet, head: IdentityHead) -> dict[str, Tensor]:
    """The inverse of :func:`from_published_names`: what the released code's ``load_state_dict`` takes."""
    ours = _whole(network, head).state_dict()
    state = {released: _with_unit_axes(released, ours[name]) for name, released in _names(network).items()}
    stages = [f"p_w.{stage}" for stage in range(len(network.stages))]
    weights = [state.pop(name) for name in stages if name in state]
    return {"p_w": torch.stack(weights), **state} if weights else state


def _names(network: OGNet) -> dict[str, str]:
    """Our names to the released ones, for every parameter and buffer of network and head."""
    ours = [name.split(".") for name in network.state_dict()]
    # Released layers are numbered over all modules; the gate is a layer of its own in the branches of a reduction.
    convolutions = 1 + max(int(parts[3]) for parts in ours if "convolutions" in parts)
    reductions = [0, *accumulate(int(stage.reduction is not None) for stage in network.stages)]
    gated = any("gate" in parts for parts in ours)
    layers = {"inner": 0, "inner_norm": 1, "outer": 2 + gated, "outer_norm": 3 + gated}
    names = {f"head.classifier.{leaf}": f"proj_output.{leaf}" for leaf in ("weight", "bias")}
    for parts in ours:
        leaf = "p" if parts[-1] == "logit" else parts[-1]
        match parts[:-1]:
            case ["project" | "norm" as part]:
                owner = {"project": "embs.0", "norm": "bn_embs.0"}[part]
            case ["stages", stage, "convolutions", inner, part]:
                owner = f"{_CONVOLUTION[part]}.{int(stage) * convolutions + int(inner)}"
            case ["stages", stage, "near" | "far"]:
                owner, leaf = "p_w", stage
            case ["stages", stage, "near" | "far", "project", "0"]:
                owner = f"conv_s2.{reductions[int(stage)]}.0"
            case ["stages", stage, "reduction", "branches", scale, "gate", layer]:
                owner = f"sa.{reductions[int(stage)]}.mlps.{scale}.2.se_{layer}"
            case ["stages", stage, "reduction", "branches", scale, layer]:
                owner = f"sa.{reductions[int(stage)]}.mlps.{scale}.{layers[layer]}"
        names[".".join(["network", *parts])] = f"{owner}.{leaf}"
    return names


def _without_unit_axes(name: str, value: Tensor) -> Tensor:
    scalar = name.startswith("agg.") and value.numel() == 1
    return value.reshape(()) if scalar else value.flatten(1) if value.dim() == 4 else value


def _with_unit_axes(name: str, value: Tensor) -> Tensor:
    convolution = name.startswith(("conv.", "sa.")) and value.dim() == 2
    return value[:, :, None, None] if convolution else value.reshape(1) if name.startswith("agg.") else value
