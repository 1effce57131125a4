"""Experiments by name: composed from YAML by OmegaConf and checked before torch loads."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ogreid import files
from ogreid.config.constraints import Resume, check
from ogreid.config.schema import Experiment
from ogreid.errors import InputError, nearest_names


def load(name: str, overrides: Sequence[str] = (), *, start: Path | None = None) -> Experiment:
    """Compose an experiment: defaults, the chain of ``extends``, then ``group.key=value`` overrides.

    Args:
        name: an experiment's name, or a path ending in ``.yaml``.
        overrides: ``group.key=value``, the value read as YAML.
        start: where the upward search for ``experiments/`` begins (default: the working directory).

    Raises:
        InputError: unknown name, key or value, with the nearest ones that exist.
    """
    path = _path_of(name, start)
    chain = [OmegaConf.create({"name": path.stem}), *_chain(path, ())]
    return _compose(chain, overrides, where=str(path))


def from_dict(plain: Mapping[str, Any], overrides: Sequence[str] = (), *, where: str = "experiment") -> Experiment:
    """An experiment from what :func:`to_dict` gave (a checkpoint or ``experiment.yaml``), strictly.

    Such a file has everything resolved, and may be a stranger's: ``${oc.env:NAME}`` in it would read out this machine.

    Raises:
        InputError: as for :func:`load`, and where it holds more than plain, resolved values.
    """
    try:
        files.check_plain(plain)
    except ValueError as error:
        raise InputError(f"{where}: not the settings of an experiment ({error})") from error
    if "${" in str(plain):
        raise InputError(f"{where}: an interpolation (${{...}}) where every value should be resolved; it was not read")
    return _compose([OmegaConf.create(dict(plain))], overrides, where=where)


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """Plain types only, every interpolation resolved."""
    plain = OmegaConf.to_container(OmegaConf.structured(experiment), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def to_yaml(experiment: Experiment) -> str:
    """The resolved experiment as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(experiment)))


def find_experiments(start: Path | None = None) -> list[Path]:
    """Folders in which an experiment's name is looked up, first match first."""
    here = (start or Path.cwd()).resolve()
    package = Path(__file__).resolve().parents[1]
    upward = [folder / "experiments" for folder in (here, *here.parents)]
    installed = [package / "experiments", package.parents[1] / "experiments"]
    return list(dict.fromkeys(folder for folder in (*upward, *installed) if folder.is_dir()))


def experiment_names(start: Path | None = None) -> list[str]:
    """Every name ``--experiment`` takes here, in alphabetical order."""
    names = {
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in find_experiments(start)
        for path in folder.rglob("*.yaml")
        if path.parent.name != "sweeps" and path.stem != "published"
    }
    return sorted(names)


def _path_of(name: str, start: Path | None) -> Path:
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise InputError(f"no experiment file {name}; give an existing .yaml or one of the names --help lists")
        return Path(name)
    names = experiment_names(start)
    if name not in names:
        raise InputError(f"unknown experiment '{name}'; {nearest_names(name, names)}")
    return next(p for folder in find_experiments(start) if (p := folder / f"{name}.yaml").is_file())


def _chain(path: Path, seen: tuple[Path, ...]) -> list[DictConfig]:
    """The parents' settings first, ``path``'s own last."""
    if path in seen:
        raise InputError(f"{path}: extends itself through {' -> '.join(p.stem for p in seen)}; break the circle")
    own = _read(path)
    parent = own.pop("extends", None)
    if parent is None:
        return [own]
    if not isinstance(parent, str) or not 0 < len(parent) < 200:
        raise InputError(f"{path}: extends {parent!r:.200}; expected an experiment's name")
    beside = path.parent / f"{parent}.yaml"
    parent_path = beside if beside.is_file() else _path_of(str(parent), path.parent)
    return [*_chain(parent_path, (*seen, path)), own]


def _read(path: Path) -> DictConfig:
    try:
        loaded = files.read_yaml(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as YAML: {_one_line(error)}") from error
    if not isinstance(loaded, DictConfig):
        raise InputError(f"{path}: expected settings (key: value), found a list or a single value")
    return loaded


def _compose(layers: Sequence[DictConfig], overrides: Sequence[str], where: str) -> Experiment:
    config = OmegaConf.structured(Experiment)
    for layer in layers:
        _check_keys(OmegaConf.to_container(layer), Experiment, where)
        config = _merge(config, layer, where)
    for override in overrides:
        config = _merge(config, _parse(override), f"'{override}'")
    try:
        experiment = OmegaConf.to_object(config)
    except (OmegaConfBaseException, RecursionError) as error:  # recursion: an interpolation of itself
        raise InputError(f"{where}: {_one_line(error)}") from error
    assert isinstance(experiment, Experiment)
    if not re.fullmatch(r"(?!.*(^|/)\.\.?(/|$))[^/\\\x00-\x1f][^\\\x00-\x1f]{0,199}", experiment.name):
        raise InputError(f"{where}: name {experiment.name!r} cannot name a folder; expected one like market/deep")
    return check(experiment)


def _merge(config: DictConfig, layer: DictConfig, where: str) -> DictConfig:
    try:
        merged = OmegaConf.merge(config, layer)
    except OmegaConfBaseException as error:
        raise InputError(f"{where}: {_one_line(error)}") from error
    assert isinstance(merged, DictConfig)
    return merged


def _parse(override: str) -> DictConfig:
    key, equals, _ = override.partition("=")
    if not equals or not key:
        raise InputError(f"'{override}': expected group.key=value, for example model.k=8")
    _check_key(key, f"'{override}'")
    try:
        return OmegaConf.from_dotlist([override])
    except Exception as error:  # the value is free text read as YAML
        raise InputError(f"'{override}': the value is not readable as YAML: {_one_line(error)}") from error


def _leaves(kind: Any = Experiment, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a dataclass type
    """Every dotted key with its field."""
    for one in fields(kind):
        if isinstance(one.type, type) and is_dataclass(one.type):
            yield from _leaves(one.type, f"{prefix}{one.name}.")
        else:
            yield prefix + one.name, one


def _check_key(key: str, where: str) -> None:
    leaves = {full: one.name for full, one in _leaves()}
    open_ended = tuple(
        f"{full}." for full, one in _leaves() if get_origin(one.type) is dict
    )  # checked where they are used
    if key in leaves or key.startswith(open_ended):
        return
    same_leaf = [full for full, leaf in leaves.items() if leaf == key]
    if same_leaf:
        raise InputError(f"{where}: unknown key '{key}'; did you mean {' or '.join(same_leaf)}?")
    if any(full.startswith(key + ".") for full in leaves):
        inside = ", ".join(full for full in leaves if full.startswith(key + "."))
        raise InputError(f"{where}: '{key}' is a group; set one of {inside}")
    raise InputError(f"{where}: unknown key '{key}'; {_near_key(key, leaves)}")


def _near_key(key: str, leaves: Mapping[str, str]) -> str:
    """Near as a whole, or near in the last part alone (``model.kk``, ``lerning_rate``)."""
    hint = nearest_names(key, leaves)
    if hint.startswith("did"):
        return hint
    last = nearest_names(key.rpartition(".")[2], leaves.values())
    if last.startswith("did"):
        near = last.removeprefix("did you mean ").removesuffix("?").split(" or ")
        return f"did you mean {' or '.join(full for full, leaf in leaves.items() if leaf in near)}?"
    return "--print-config lists all keys"


def _check_keys(layer: Any, kind: Any, where: str, prefix: str = "") -> None:  # noqa: ANN401
    known = {one.name: one.type for one in fields(kind)}
    for key, value in layer.items():
        full = f"{prefix}{key}"
        if key not in known:
            _check_key(full, where)
        elif isinstance(value, dict) and is_dataclass(known[key]):
            _check_keys(value, known[key], where, full + ".")


def changed_settings(old: Experiment, new: Experiment) -> dict[str, tuple[Any, Any, Resume]]:
    """Settings that differ and distinguish runs: (old, new, what the change means on resume) by dotted name.

    Settings that a field declares free are left out.
    """
    changed: dict[str, tuple[Any, Any, Resume]] = {}
    for key, one in _leaves():
        before, after = (attrgetter(key)(which) for which in (old, new))
        if isinstance(before, dict):
            for name in sorted({*before, *after} - set(one.metadata["free"])):
                if before.get(name) != after.get(name):
                    resume: Resume = "extend" if name in one.metadata["extend"] else one.metadata["resume"]
                    changed[f"{key}.{name}"] = (before.get(name), after.get(name), resume)
        elif before != after and one.metadata["resume"] != "free":
            changed[key] = (before, after, one.metadata["resume"])
    return changed


def _one_line(error: Exception) -> str:
    line = " ".join(str(error).split("\n")[0].split())
    return "expected a list, for example [market]" if "is not a ListConfig" in line else line


def data_root(given: str | Path | None = None) -> Path:
    """The folder of packed stores: what was given, else ``OGREID_DATA``, else ``data``; empty text is not given."""
    return Path(given or os.environ.get("OGREID_DATA") or "data")
