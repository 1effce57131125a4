"""Embed crops or a store: ``python -m ogreid.embed --checkpoint RUN --input STORE|FOLDER|IMAGE... --to FILE``."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ogreid import config
from ogreid.config import command_line
from ogreid.errors import InputError

EPILOG = """\
The file's suffix says its kind: .npz for numpy, .parquet for tables, .faiss for an exact inner-product index of the
normalized embeddings. .npz and .parquet hold embedding, identity, camera, index, split and source of each crop.

examples:
  python -m ogreid.embed --checkpoint runs/demo/20260101-120000-0 --input plaza-160 --to plaza.parquet
  python -m ogreid.embed --published DOWNLOADED/ognet_circle --input crops/ --to crops.npz crops.faiss
  python -m ogreid.embed --checkpoint last.ckpt --input a.jpg b.jpg --to two.npz
"""


def parser() -> command_line.Parser:
    """The command line."""
    command = command_line.Parser(
        prog="python -m ogreid.embed",
        description="Embed a packed store, a folder of crops or single crops.",
        epilog=EPILOG,
    )
    command_line.network_arguments(command)
    command.add_argument("--input", nargs="+", required=True, metavar="INPUT", help="a store, a folder, or images")
    command.add_argument("--to", nargs="+", required=True, type=Path, metavar="FILE", help=".npz, .parquet or .faiss")
    command.add_argument("--meshes", type=Path, metavar="DIR|FILE", help="the crops' bodies, by an estimator")
    command.add_argument(
        "--faces", type=Path, metavar="FILE", help="the body model's faces, where the bodies lack them"
    )
    command_line.body_arguments(command)
    command.add_argument("--devices", type=int, default=1, help="processes that share the work (%(default)s)")
    command.add_argument("--data", metavar="DIR", help="data root (OGREID_DATA, else data)")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, embed, write."""
    arguments = parser().parse_args(argv)
    if arguments.devices < 1:
        raise InputError(f"--devices: expected 1 or more, got {arguments.devices}")
    command_line.check_bodies(arguments)
    from ogreid.data.datasets.crops import find_images

    paths = [Path(one) for one in arguments.input]
    root = config.data_root(arguments.data)
    is_store = len(paths) == 1 and not paths[0].is_file() and _is_store(paths[0], root)
    if is_store and arguments.bodies is not None:
        raise InputError(f"--bodies requires images as --input; the store {arguments.input[0]} has its bodies")
    images = [] if is_store else find_images(paths)
    command_line.quiet()
    from ogreid.config.bars import ProgressBars
    from ogreid.config.workers import available_cores
    from ogreid.data.datasets.catalogue import store_path
    from ogreid.data.datasets.crops import crop_dataset, fit_images
    from ogreid.data.store.mapped import Store
    from ogreid.lifting.landmarks import MODEL_FILE
    from ogreid.retrieval.embeddings import check_target
    from ogreid.training.distributed import rank
    from ogreid.training.inference import embed, embed_store, load_network

    for target in arguments.to:
        check_target(target)
    network = load_network(
        arguments.checkpoint, published=arguments.published, model=arguments.model, weights=arguments.weights
    )
    progress = partial(ProgressBars(), "embedding")
    if is_store:
        store = Store.open(store_path(arguments.input[0], root))
        embeddings = embed_store(network, store, devices=arguments.devices, progress=progress)
    else:
        sources = arguments.bodies, arguments.landmarks, arguments.pose_model or root / MODEL_FILE
        bar = partial(ProgressBars(), "bodies")
        fitted = fit_images(images, *sources, workers=available_cores(), progress=bar)
        dataset = crop_dataset(images, meshes=arguments.meshes, faces=arguments.faces, fitted=fitted)
        embeddings = embed(network, dataset, devices=arguments.devices, progress=progress)
    for target in arguments.to if rank() == 0 else ():
        embeddings.save(target)
        command_line.show(target, browse=False)
    return 0


def _is_store(path: Path, root: Path) -> bool:
    from ogreid.data.datasets.crops import is_image

    named = any((folder / "manifest.json").is_file() for folder in (root / path, path))
    return named or not (path.exists() or is_image(path))


if __name__ == "__main__":
    command_line.run(main)
