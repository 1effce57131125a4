"""Where was a person seen: ``python -m ogreid.search --checkpoint RUN --gallery STORE --query IMAGE``."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ogreid import config
from ogreid.config import command_line
from ogreid.errors import InputError, MissingFileError

HINT = (
    "{} has estimated bodies and the images the upright one, so that scores are lower, even of the same image: "
    "give the images' own bodies with --meshes, or estimate them with --bodies"
)
EPILOG = """\
examples:
  python -m ogreid.search --checkpoint runs/demo/20260101-120000-0 --gallery plaza-160 --query someone.jpg --open
  python -m ogreid.search --model histogram --gallery people-folder --query a.jpg b.jpg --top 20 --to found.csv
  python -m ogreid.search --checkpoint RUN --gallery market --embeddings market.npz --query a.jpg
  python -m ogreid.search --checkpoint RUN --gallery market --query a.jpg --fpr 1e-3 --where camera=3
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
    command.add_argument("--faces", type=Path, metavar="FILE", help="the body model's faces, where bodies lack them")
    command_line.body_arguments(command)
    command.add_argument("--top", type=int, default=10, help="crops per query (%(default)s)")
    score = command.add_mutually_exclusive_group()
    score.add_argument("--threshold", type=float, metavar="SCORE", help="lower scores are no match")
    score.add_argument(
        "--fpr", type=float, metavar="RATE", help="the threshold for this false positive rate of the run"
    )
    command.add_argument("--limit", type=int, metavar="N", help="search the first N crops of the gallery only")
    where = "search these crops only: camera=3, camera=1,2, identity=7 or split=gallery"
    command.add_argument("--where", nargs="+", action="extend", default=[], metavar="COLUMN=VALUE", help=where)
    to = Path("ranking.html")
    command.add_argument("--to", type=Path, default=to, metavar="FILE", help=".html, .json or .csv (%(default)s)")
    command.add_argument("--embeddings", type=Path, metavar="FILE", help="cache the gallery's in this .npz")
    command.add_argument("--no-pictures", action="store_true", help="a page of names and scores, without people")
    command.add_argument("--open", action="store_true", help="show the page in the browser")
    command.add_argument("--data", metavar="DIR", help="data root (OGREID_DATA, else data)")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, embed, rank, write."""
    arguments = parser().parse_args(argv)
    _check(arguments)
    from ogreid.data.datasets.catalogue import store_path
    from ogreid.data.store.mapped import Store
    from ogreid.reporting.matching import Threshold, parse_where, select_rows, threshold_for

    store = Store.open(store_path(arguments.gallery, config.data_root(arguments.data)))
    if store.manifest.mode == "published":
        raise InputError(f"{store.path}: holds published clouds; pack its crops (--root DIR) to search it by images")
    threshold = None if arguments.threshold is None else Threshold(arguments.threshold)
    if arguments.fpr is not None:
        threshold = threshold_for(arguments.checkpoint, arguments.fpr, store.name)
    part = select_rows(store, store.gallery_rows(), parse_where(arguments.where), arguments.limit)
    command_line.quiet()
    import numpy as np

    from ogreid.config.bars import ProgressBars
    from ogreid.data.datasets.crops import crop_dataset, fit_images
    from ogreid.data.datasets.sources import read_crop
    from ogreid.lifting.landmarks import MODEL_FILE
    from ogreid.reporting.pages import match_lines, write_rankings
    from ogreid.retrieval.embeddings import Embeddings
    from ogreid.retrieval.inspection import search
    from ogreid.training.inference import embed, embed_store, fingerprint, load_network

    network = load_network(**command_line.network(arguments))
    # A file holds the whole gallery, whichever part of it is searched.
    embedded = part if arguments.embeddings is None else store.gallery_rows()
    compute = partial(embed_store, network, store, embedded, progress=partial(ProgressBars(), "embedding"))
    gallery = Embeddings.cached(arguments.embeddings, fingerprint(network, store), compute)
    gallery = gallery.subset(np.isin(gallery.index, part))
    images = [(path.parent, path.name) for path in arguments.query]
    landmark_network = arguments.pose_model or config.data_root(arguments.data) / MODEL_FILE
    fitted = fit_images(images, arguments.bodies, arguments.landmarks, landmark_network)
    crops = crop_dataset(images, meshes=arguments.meshes, faces=arguments.faces, like=store, fitted=fitted)
    rows, scores = search(embed(network, crops).embedding, gallery.embedding, top=arguments.top)
    others = network.sees_bodies and store.manifest.creation and not (arguments.meshes or fitted)
    hint = HINT.format(store.name) if others else ""
    queries = [(path.name, read_crop(path)) for path in arguments.query]
    ranking, size = (gallery.index[rows], scores), len(gallery.index)
    people = network.pictures and not arguments.no_pictures
    page = write_rankings(
        arguments.to,
        network.name,
        store,
        queries,
        *ranking,
        ranked=size,
        people=people,
        hint=hint,
        threshold=threshold,
    )
    if threshold is not None:
        sys.stdout.writelines(f"{line}\n" for line in match_lines([name for name, _ in queries], scores, threshold))
    command_line.show(page, browse=arguments.open)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """What can be said before torch is loaded."""
    command_line.check_bodies(arguments)
    for name in ("top", "limit"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise InputError(f"--{name}: expected 1 or more, got {value}")
    if arguments.to.suffix not in (".html", ".json", ".csv"):
        raise InputError(f"--to {arguments.to}: expected a name that ends in .html, .json or .csv")
    if arguments.embeddings is not None and arguments.embeddings.suffix != ".npz":
        raise InputError(f"--embeddings {arguments.embeddings}: expected an .npz; python -m ogreid.embed writes others")
    for image in arguments.query:
        if not image.is_file():
            raise MissingFileError(f"{image}: no such image; give the file of a crop of one person")


if __name__ == "__main__":
    command_line.run(main)
