"""Where was a person seen: ``python -m ogreid.search --checkpoint RUN --gallery STORE --query IMAGE``."""

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from ogreid import config
from ogreid.config import command_line
from ogreid.errors import InputError, MissingFileError

if TYPE_CHECKING:
    from ogreid.data.store.mapped import Store
    from ogreid.retrieval.embeddings import Embeddings
    from ogreid.training.inference import Network

log = logging.getLogger(__name__)
KINDS = (".html", ".json", ".csv")
HINT = (
    "{} has estimated bodies and the images the upright one, so that scores are lower, even of the same image: "
    "give the images' own bodies with --meshes"
)
EPILOG = """\
examples:
  python -m ogreid.search --checkpoint runs/demo/20260101-120000-0 --gallery plaza-160 --query someone.jpg --open
  python -m ogreid.search --model histogram --gallery people-folder --query a.jpg b.jpg --top 20 --to found.csv
  python -m ogreid.search --checkpoint RUN --gallery market --embeddings market.npz --query a.jpg
"""


def parser() -> command_line.Parser:
    """The command line."""
    command = command_line.Parser(
        prog="python -m ogreid.search",
        description="Rank the crops of a packed store by their similarity to query images of a person.",
        epilog=EPILOG,
    )
    command_line.network_arguments(command)
    command.add_argument("--gallery", required=True, metavar="STORE", help="a name under the data root, or a path")
    command.add_argument("--query", nargs="+", required=True, type=Path, metavar="IMAGE", help="crops of a person")
    command.add_argument("--meshes", type=Path, metavar="DIR|FILE", help="the images' bodies, where the store has such")
    command.add_argument(
        "--faces", type=Path, metavar="FILE", help="the body model's faces, where the bodies lack them"
    )
    command.add_argument("--top", type=int, default=10, help="crops per query (%(default)s)")
    command.add_argument(
        "--to", type=Path, default=Path("ranking.html"), metavar="FILE", help=".html, .json or .csv (%(default)s)"
    )
    command.add_argument("--embeddings", type=Path, metavar="FILE", help="cache the gallery's in this .npz")
    command.add_argument(
        "--no-pictures", action="store_true", help="a page of names and scores, without pictures of people"
    )
    command.add_argument("--open", action="store_true", help="show the page in the browser")
    command.add_argument("--data", metavar="DIR", help="data root (OGREID_DATA, else data)")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, embed, rank, write."""
    arguments = parser().parse_args(argv)
    _check(arguments)
    from ogreid.data.datasets.catalogue import store_path
    from ogreid.data.store.mapped import Store

    store = Store.open(store_path(arguments.gallery, config.data_root(arguments.data)))
    command_line.quiet()
    from ogreid.data.datasets.crops import crop_dataset
    from ogreid.data.datasets.sources import read_crop
    from ogreid.lifting import Mode
    from ogreid.reporting.pages import write_rankings
    from ogreid.retrieval.inspection import search
    from ogreid.training.inference import embed, load_network

    if store.manifest.mode not in get_args(Mode):
        raise InputError(f"{store.path}: holds published clouds; pack its crops (--root DIR) to search it by images")
    network = load_network(
        arguments.checkpoint, published=arguments.published, model=arguments.model, weights=arguments.weights
    )
    gallery = _gallery(arguments, network, store)
    crops = crop_dataset(
        [(path.parent, path.name) for path in arguments.query],
        meshes=arguments.meshes,
        faces=arguments.faces,
        mode=cast(Mode, store.manifest.mode),
        background=store.manifest.background,
    )
    rows, scores = search(embed(network, crops).embedding, gallery.embedding, top=arguments.top)
    hint = "" if arguments.meshes is not None or not store.manifest.creation else HINT.format(store.name)
    if hint:
        log.warning("%s", hint)
    queries = [(path.name, read_crop(path)) for path in arguments.query]
    pictures = network.pictures and not arguments.no_pictures
    page = write_rankings(
        arguments.to,
        network.name,
        store,
        queries,
        gallery.index[rows],
        scores,
        ranked=len(gallery.index),
        people=pictures,
        hint=hint,
    )
    command_line.show(page, browse=arguments.open)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """What can be said before torch is loaded."""
    if arguments.faces is not None and arguments.meshes is None:
        raise InputError("--faces requires --meshes")
    if arguments.top < 1:
        raise InputError(f"--top: expected 1 or more, got {arguments.top}")
    if arguments.to.suffix not in KINDS:
        raise InputError(f"--to {arguments.to}: expected a name that ends in {', '.join(KINDS)}")
    if arguments.embeddings is not None and arguments.embeddings.suffix != ".npz":
        raise InputError(f"--embeddings {arguments.embeddings}: expected an .npz; python -m ogreid.embed writes others")
    for image in arguments.query:
        if not image.is_file():
            raise MissingFileError(f"{image}: no such image; give the file of a crop of one person")


def _gallery(arguments: argparse.Namespace, network: "Network", store: "Store") -> "Embeddings":
    """The gallery's embeddings: those of the cache, where they are of this network and store."""
    from ogreid.config.bars import ProgressBars
    from ogreid.retrieval.embeddings import Embeddings, check_target
    from ogreid.training.inference import embed_store, fingerprint

    cache: Path | None = arguments.embeddings
    if cache is not None and cache.is_file():
        cached = Embeddings.load(cache)
        if cached.fingerprint == fingerprint(network, store):
            return cached
        log.info("%s: of another network or store, computed again", cache)
    if cache is not None:
        check_target(cache)
    embeddings = embed_store(network, store, progress=partial(ProgressBars(), "embedding"))
    if cache is not None:
        embeddings.save(cache)
    return embeddings


if __name__ == "__main__":
    command_line.run(main)
