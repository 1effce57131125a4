"""Where was a person seen: ``python -m ogreid.search --checkpoint RUN --gallery STORE --query IMAGE``."""

import argparse
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

    store = Store.open(store_path(arguments.gallery, config.data_root(arguments.data)))
    if store.manifest.mode == "published":
        raise InputError(f"{store.path}: holds published clouds; pack its crops (--root DIR) to search it by images")
    command_line.quiet()
    from ogreid.config.bars import ProgressBars
    from ogreid.data.datasets.crops import crop_dataset, fit_images
    from ogreid.data.datasets.sources import read_crop
    from ogreid.lifting.landmarks import MODEL_FILE
    from ogreid.reporting.pages import write_rankings
    from ogreid.retrieval.embeddings import Embeddings
    from ogreid.retrieval.inspection import search
    from ogreid.training.inference import embed, embed_store, fingerprint, load_network

    network = load_network(**command_line.network(arguments))
    compute = partial(embed_store, network, store, progress=partial(ProgressBars(), "embedding"))
    gallery = Embeddings.cached(arguments.embeddings, fingerprint(network, store), compute)
    images = [(path.parent, path.name) for path in arguments.query]
    landmark_network = arguments.pose_model or config.data_root(arguments.data) / MODEL_FILE
    fitted = fit_images(images, arguments.bodies, arguments.landmarks, landmark_network)
    crops = crop_dataset(images, meshes=arguments.meshes, faces=arguments.faces, like=store, fitted=fitted)
    rows, scores = search(embed(network, crops).embedding, gallery.embedding, top=arguments.top)
    hint = HINT.format(store.name) if store.manifest.creation and not (arguments.meshes or fitted) else ""
    queries = [(path.name, read_crop(path)) for path in arguments.query]
    ranking, size = (gallery.index[rows], scores), len(gallery.index)
    people = network.pictures and not arguments.no_pictures
    page = write_rankings(arguments.to, network.name, store, queries, *ranking, ranked=size, people=people, hint=hint)
    command_line.show(page, browse=arguments.open)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """What can be said before torch is loaded."""
    command_line.check_bodies(arguments)
    if arguments.top < 1:
        raise InputError(f"--top: expected 1 or more, got {arguments.top}")
    if arguments.to.suffix not in (".html", ".json", ".csv"):
        raise InputError(f"--to {arguments.to}: expected a name that ends in .html, .json or .csv")
    if arguments.embeddings is not None and arguments.embeddings.suffix != ".npz":
        raise InputError(f"--embeddings {arguments.embeddings}: expected an .npz; python -m ogreid.embed writes others")
    for image in arguments.query:
        if not image.is_file():
            raise MissingFileError(f"{image}: no such image; give the file of a crop of one person")


if __name__ == "__main__":
    command_line.run(main)
