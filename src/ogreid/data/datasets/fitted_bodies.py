"""Bodies fitted to the landmarks of crops: estimated once into ``bodies.npz``, from which packing reads them.

Estimates are floating-point results of a network, which differ between processors; the file makes a store's bytes a
function of its inputs again. Estimating is resumed where it was interrupted.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ogreid import files
from ogreid.config.workers import map_in_processes
from ogreid.data.datasets.sources import HEIGHT, WIDTH, open_crop
from ogreid.errors import InputError
from ogreid.lifting import Mesh, upright_template
from ogreid.lifting.fitting import OUTCOMES, Acceptance, BodyFitter, Fit, intersection_over_union, silhouette
from ogreid.lifting.landmarks import LandmarkSource, PoseNetwork
from ogreid.lifting.readers.landmark_files import LandmarkFiles
from ogreid.synthetic.body import load_body

FILE = "bodies.npz"
FORMAT = 1
CHUNK = 128  # crops that a worker estimates at once; also the unit of resuming
Progress = Callable[[int, int], None]


class Estimate(NamedTuple):
    """What is stored of a crop."""

    outcome: np.uint8  # place in OUTCOMES
    shape: np.ndarray  # (S,)
    pose: np.ndarray  # (J, 3)
    camera: np.ndarray  # (3,) see ogreid.lifting.fitting.Fit
    size: np.ndarray  # (2,) int32 height and width of the crop
    mask: np.ndarray  # (H * W / 8,) uint8 packed bits of the crop at 128 x 64; all zero where it is not known


@dataclass(frozen=True, eq=False)
class FittedBodies:
    """The estimates of a data set; called with a crop's path it gives the body, as every mesh source does.

    Attributes:
        names: (N,) paths of the crops, as in a store's rows.
        columns: one array (N, ...) for each member of :class:`Estimate`.
        settings: what the estimates depend on.
        path: of the file; where there is one, it is what travels to worker processes.
    """

    names: tuple[str, ...]
    columns: dict[str, np.ndarray]
    settings: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def load(cls, path: Path) -> "FittedBodies":
        """Read ``bodies.npz``.

        Raises:
            InputError: not such a file, or of another format.
        """
        try:
            stored = files.read_arrays(path)
            if int(stored["format"]) != FORMAT:
                raise ValueError(f"format {stored['format']}, this version reads {FORMAT}")
            names, settings = tuple(map(str, stored["names"])), json.loads(str(stored["settings"]))
            columns = {name: stored[name] for name in Estimate._fields}
            body = load_body()
            shapes = {
                "outcome": ("u", ()),
                "shape": ("f", (len(body.components),)),
                "pose": ("f", (len(body.parents), 3)),
                "camera": ("f", (3,)),
                "size": ("i", (2,)),
                "mask": ("u", (HEIGHT * WIDTH // 8,)),
            }
            for name, (kind, shape) in shapes.items():
                if columns[name].shape != (len(names), *shape) or columns[name].dtype.kind != kind:
                    raise ValueError(f"{name} of shape {columns[name].shape} and type {columns[name].dtype}")
            if len(names) and columns["outcome"].max() >= len(OUTCOMES):
                raise ValueError("an unknown outcome")
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise InputError(f"{path}: not a file of fitted bodies ({error}); delete it to estimate again") from error
        return cls(names, columns, settings, path)

    def save(self, path: Path) -> None:
        """Write ``bodies.npz`` in one step; equal estimates give equal bytes."""
        text = json.dumps(self.settings, sort_keys=True)
        with files.atomic_write(path) as file:
            arrays = {"format": np.array(FORMAT), "settings": np.array(text), "names": np.array(self.names)}
            np.savez_compressed(file, allow_pickle=False, **arrays, **self.columns)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.path is not None:
            return _load_once, (self.path,)
        return FittedBodies, (self.names, self.columns, self.settings)

    def __call__(self, source: str) -> Mesh:
        """The fitted body of a crop, or the upright one where the fit was not accepted."""
        place = self._place(source)
        if self.columns["outcome"][place]:
            return upright_template()
        pose, shape, camera = (self.columns[name][place] for name in ("pose", "shape", "camera"))
        height, width = self.columns["size"][place].tolist()
        return _fitter().mesh(Fit(pose, shape, camera, error=0.0), height, width)

    def mask(self, source: str) -> np.ndarray | None:
        """The person's pixels (128, 64) bool; None where they are not known."""
        bits = np.unpackbits(self.columns["mask"][self._place(source)])
        return bits.reshape(HEIGHT, WIDTH).astype(bool) if bits.any() else None

    @property
    def has_masks(self) -> bool:
        return bool(self.columns["mask"].any())

    def counts(self, names: Sequence[str] | None = None) -> dict[str, int]:
        """Crops by outcome, all of :data:`ogreid.lifting.fitting.OUTCOMES`: of every crop, or of all ``names``.

        Raises:
            InputError: a crop without an estimate.
        """
        rows = list(map(self._place, names or self.names))
        counts = np.bincount(self.columns["outcome"][rows], minlength=len(OUTCOMES)).tolist()
        return dict(zip(OUTCOMES, counts, strict=True))

    def _place(self, source: str) -> int:
        if source not in self._places:
            raise InputError(f"no fitted body of {source} in {self.path or FILE}; delete the file to estimate again")
        return self._places[source]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


def landmark_source(folder: Path | None, network: Path) -> LandmarkSource:
    """The landmarks in the files of ``folder``, or where it is None, those of the network in the file ``network``."""
    return LandmarkFiles(folder) if folder is not None else PoseNetwork(network)


def fit_crops(
    names: Iterable[str],
    root: Path,
    landmarks: LandmarkSource,
    *,
    workers: int = 1,
    acceptance: Acceptance | None = None,
    progress: Progress | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
) -> FittedBodies:
    """Fit bodies to crops.

    Args:
        names: paths of the crops; repeated ones are estimated once.
        root: folder that they are relative to.
        landmarks: gives their landmarks.
        workers: processes; they do not change a byte.
        acceptance: when a fit is taken.
        progress: called with (crops done, crops).
        folder: for ``bodies.npz``. An interrupted call is resumed from it, and a file of the same crops and settings is
            read instead of estimating again. Without it nothing is written.
        overwrite: replace a file of other crops or settings.

    Raises:
        InputError: as the landmarks' settings do; unreadable crops or landmarks; a file of other crops or settings; no
            landmarks of any crop.
    """
    names, acceptance = tuple(dict.fromkeys(names)), acceptance or Acceptance()
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    settings = {**landmarks.settings, **asdict(acceptance), "names": digest}
    estimate = partial(_estimate_chunk, root, landmarks, acceptance)
    if folder is None:
        return _joined(names, settings, _chunks(names, estimate, workers, None, progress))
    with files.lock(folder / f".{FILE}.lock"):
        path, part = folder / FILE, folder / "estimated"
        if path.is_file():
            stored = FittedBodies.load(path)
            if stored.settings == settings:
                return stored
            if not overwrite:
                raise InputError(f"{path}: of other crops, landmarks or thresholds; --overwrite estimates again")
        _prepare(part, json.dumps(settings, sort_keys=True))
        _joined(names, settings, _chunks(names, estimate, workers, part, progress)).save(path)
        shutil.rmtree(part)
    return FittedBodies.load(path)


def counts_in_words(counts: dict[str, int]) -> str:
    """How many crops have a fitted body, and why the others have not."""
    upright = ", ".join(f"{count} {name}" for name, count in counts.items() if count and name != OUTCOMES[0])
    return f"{counts[OUTCOMES[0]]} of {sum(counts.values())} bodies fitted; upright: {upright or 'none'}"


def _prepare(part: Path, plan: str) -> None:
    """Make ``part`` ready for chunks; those of another plan go."""
    if not (part / "plan.json").is_file() or (part / "plan.json").read_text(encoding="utf-8") != plan:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        files.write_text(part / "plan.json", plan)


def _chunks(
    names: Sequence[str],
    estimate: Callable[[Sequence[str]], dict[str, np.ndarray]],
    workers: int,
    part: Path | None,
    progress: Progress | None,
) -> Iterator[dict[str, np.ndarray]]:
    """The columns of each chunk, in order; those that are not in ``part`` are estimated and put there."""
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    paths = [part / f"{number:06d}.npz" if part else None for number in range(len(chunks))]
    pending = [chunk for chunk, path in zip(chunks, paths, strict=True) if path is None or not path.is_file()]
    done = 0
    with closing(map_in_processes(estimate, pending, min(workers, len(pending)))) as results:
        for chunk, path in zip(chunks, paths, strict=True):
            if path is not None and path.is_file():
                columns = files.read_arrays(path)
            else:
                columns = next(results)
                if path is not None:
                    with files.atomic_write(path) as file:
                        np.savez(file, allow_pickle=False, **columns)
            done += len(chunk)
            if progress is not None:
                progress(done, len(names))
            yield columns


def _joined(names: tuple[str, ...], settings: dict[str, Any], chunks: Iterable[dict[str, np.ndarray]]) -> FittedBodies:
    parts = list(chunks)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in Estimate._fields}
    if Counter(columns["outcome"].tolist()) == {OUTCOMES.index("no landmarks"): len(names)}:
        raise InputError(f"no landmarks of any of {len(names)} crops, {names[0]} the first; is this their folder?")
    return FittedBodies(names, columns, settings)


def _estimate_chunk(
    root: Path, landmarks: LandmarkSource, acceptance: Acceptance, names: Sequence[str]
) -> dict[str, np.ndarray]:
    estimates = [estimate_crop(name, root, landmarks, acceptance) for name in names]
    return {name: np.stack(values) for name, *values in zip(Estimate._fields, *estimates, strict=True)}


def estimate_crop(name: str, root: Path, landmarks: LandmarkSource, acceptance: Acceptance) -> Estimate:
    """The estimate of one crop: the first of its landmarks' attempts whose fit is accepted, else no body.

    Raises:
        InputError: an unreadable crop or file of landmarks.
    """
    image, fitter, outcome = open_crop(root / name), _fitter(), "no landmarks"
    size, body = np.array([image.height, image.width], dtype=np.int32), fitter.body
    empty = Fit(np.zeros((len(body.parents), 3)), np.zeros(len(body.components)), np.ones(3), np.inf)
    accepted, mask = empty, np.zeros((HEIGHT, WIDTH), dtype=bool)
    for attempt in landmarks(name, image):
        fit = fitter.fit(attempt, image.height, image.width)
        seen, overlap = None if attempt.mask is None else _resized(attempt.mask), None
        if fit is not None and seen is not None:
            overlap = intersection_over_union(silhouette(fitter.mesh(fit, *size.tolist()), HEIGHT, WIDTH), seen)
        result = acceptance.outcome(attempt, fit, overlap)
        outcome = result if outcome == "no landmarks" or result == OUTCOMES[0] else outcome
        if seen is not None and result != "no person" and (result == OUTCOMES[0] or not mask.any()):
            mask = seen
        if result == OUTCOMES[0]:
            assert fit is not None
            accepted = fit
            break
    shape, pose, camera = (one.astype(np.float32) for one in (accepted.shape, accepted.pose, accepted.camera))
    return Estimate(np.uint8(OUTCOMES.index(outcome)), shape, pose, camera, size, np.packbits(mask))


def _resized(mask: np.ndarray) -> np.ndarray:
    """The mask (128, 64) of a crop at any size, by its nearest pixels."""
    rows, columns = ((np.arange(n) + 0.5) * own / n for n, own in zip((HEIGHT, WIDTH), mask.shape, strict=True))
    return np.asarray(mask[rows.astype(int)][:, columns.astype(int)])


@lru_cache(maxsize=1)
def _fitter() -> BodyFitter:
    return BodyFitter(load_body())


@lru_cache(maxsize=2)
def _load_once(path: Path) -> FittedBodies:
    return FittedBodies.load(path)
