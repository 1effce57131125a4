"""Ask where a person was seen: ``python -m ogreid.search --checkpoint RUN --gallery STORE --query PICTURE``.

With ``--export`` the embeddings of the gallery become files for other programs.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ogreid import config
from ogreid.config import command_line
from ogreid.errors import InputError

log = logging.getLogger(__name__)

HINT = (
    "{} has estimated bodies and the pictures the upright one, so that scores are lower, even of the same picture: "
    "give the pictures' own bodies with --meshes"
)
EPILOG = """\
examples:
  python -m ogreid.search --checkpoint runs/demo/20260101-120000-0 --gallery plaza-160 --query someone.jpg --open
  python -m ogreid.search --model histogram --gallery people-folder --query a.jpg b.jpg --top 20 --to found.html
  python -m ogreid.search --checkpoint runs/demo/20260101-120000-0 --gallery market --export market.faiss market.parquet
"""


def parser() -> command_line.Parser:
    """The command line of this door."""
    made = command_line.Parser(
        prog="python -m ogreid.search",
        description="Rank the sightings in a packed store by their likeness to pictures of a person.",
        epilog=EPILOG,
    )
    command_line.which_network(made)
    made.add_argument("--gallery", required=True, metavar="STORE", help="a name under the data root, or a path")
    made.add_argument("--query", nargs="+", default=[], type=Path, metavar="PICTURE", help="crops of a person")
    made.add_argument("--meshes", type=Path, metavar="DIR|FILE", help="the pictures' bodies, where the store has such")
    made.add_argument("--faces", type=Path, metavar="FILE", help="the body model's faces, where the bodies lack them")
    made.add_argument("--top", type=int, default=10, help="sightings per picture (%(default)s)")
    made.add_argument("--to", type=Path, default=Path("sightings.html"), metavar="FILE", help="the page (%(default)s)")
    made.add_argument("--embeddings", type=Path, metavar="FILE", help="keep them in this .npz, for the next time")
    made.add_argument("--export", nargs="+", default=[], type=Path, metavar="FILE", help=".npz, .parquet or .faiss")
    made.add_argument(
        "--no-pictures", action="store_true", help="a page of names and scores, without pictures of people"
    )
    made.add_argument("--open", action="store_true", help="show the page in the browser")
    made.add_argument("--data", metavar="DIR", help="data root (OGREID_DATA, else data)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, embed, export, search, write."""
    asked = parser().parse_args(argv)
    _check(asked)
    from ogreid.data.datasets.catalogue import store_path

    place = store_path(asked.gallery, config.data_root(asked.data))
    from ogreid.retrieval import embeddings
    from ogreid.training.train import inference
    from ogreid.training.train import searching
    from ogreid.training.callbacks.progress import Making
    from ogreid.data import Store
    from ogreid.reporting.sightings import write_sightings

    for file in (*asked.export, *filter(None, [asked.embeddings])):
        embeddings.check_target(file)
    network = inference.network_for(asked.checkpoint, asked.published, asked.model, asked.weights)
    store = Store.open(place)
    making = Making()
    embedded = searching.embed_store(
        network.module, network.data, store, asked.embeddings, lambda done, all_: making("embedding", done, all_)
    )
    for file in asked.export:
        sys.stdout.write(f"{embeddings.write(file, store, embedded)}\n")
    if asked.query:
        bodies = {"meshes": asked.meshes, "faces": asked.faces}
        findings = searching.find(network.module, network.data, store, embedded, asked.query, asked.top, **bodies)
        hint = "" if searching.lifted_alike(store, asked.meshes) else HINT.format(store.name)
        if hint:
            log.warning("%s", hint)
        people, ranked = network.people and not asked.no_pictures, len(embedded.rows)
        page = write_sightings(asked.to, network.name, store, findings, ranked, people=people, hint=hint)
        command_line.show(page, browse=asked.open)
    return 0


def _check(asked: argparse.Namespace) -> None:
    """What can be said before torch is loaded."""
    if not asked.query and not asked.export:
        raise InputError("nothing asked: give --query PICTURE to search, --export FILE to keep the embeddings, or both")
    if asked.faces is not None and asked.meshes is None:
        raise InputError(f"--faces {asked.faces}: of bodies that are given with --meshes; give both, or neither")
    if asked.top < 1:
        raise InputError(f"--top {asked.top}: expected 1 or more")
    if asked.embeddings is not None and asked.embeddings.suffix != ".npz":
        raise InputError(f"--embeddings {asked.embeddings}: kept as .npz only; --export writes other kinds of files")
    for picture in asked.query:
        if not picture.is_file():
            raise InputError(f"{picture}: no such picture; give the file of a crop of one person")


if __name__ == "__main__":
    command_line.run(main)
