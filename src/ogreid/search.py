"""Ask where a person was seen: ``python -m ogreid.search --checkpoint RUN --gallery STORE --query PICTURE``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ogreid import config, doors
from ogreid.errors import UserError

EPILOG = """\
examples:
  python -m ogreid.search --checkpoint runs/demo/20260101-120000-0 --gallery plaza-160 --query someone.jpg --open
  python -m ogreid.search --model histogram --gallery people-folder --query a.jpg b.jpg --top 20 --to found.html
"""


def parser() -> doors.Parser:
    """The command line of this door."""
    made = doors.Parser(
        prog="python -m ogreid.search",
        description="Rank the sightings in a packed store by their likeness to pictures of a person.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("--checkpoint", metavar="RUN", help="a run folder (its best checkpoint) or a .ckpt file")
    which.add_argument("--published", metavar="FOLDER", help="a released folder: opts.yaml and its weights")
    which.add_argument("--model", metavar="NAME", help="a network without training, for example histogram")
    made.add_argument("--gallery", required=True, metavar="STORE", help="a name under the data root, or a path")
    made.add_argument("--query", nargs="+", required=True, type=Path, metavar="PICTURE", help="crops of a person")
    made.add_argument("--top", type=int, default=10, help="sightings per picture (%(default)s)")
    made.add_argument("--to", type=Path, default=Path("sightings.html"), metavar="FILE", help="the page (%(default)s)")
    made.add_argument("--embeddings", type=Path, metavar="FILE", help="keep the gallery's embeddings in this .npz")
    made.add_argument("--open", action="store_true", help="show the page in the browser")
    made.add_argument("--data", metavar="DIR", help="data root (OGREID_DATA, else data)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, search, write."""
    asked = parser().parse_args(argv)
    if asked.top < 1:
        raise UserError(f"--top {asked.top}: expected 1 or more")
    for picture in asked.query:
        if not picture.is_file():
            raise UserError(f"{picture}: no such picture; give the file of a crop of one person")
    from ogreid.data.catalogue import store_path

    place = store_path(asked.gallery, config.data_root(asked.data))
    from ogreid import judging, searching
    from ogreid.callbacks.progress import Making
    from ogreid.data import Store
    from ogreid.reporting.sightings import write_sightings

    network = judging.network_for(asked.checkpoint, asked.published, asked.model)
    store = Store.open(place)
    making = Making()
    embedded = searching.embed_store(
        network.module, network.data, store, asked.embeddings, lambda done, all_: making("embedding", done, all_)
    )
    findings = searching.find(network.module, network.data, store, embedded, asked.query, asked.top)
    page = write_sightings(asked.to, network.name, store, findings)
    sys.stdout.write(f"{page}\n")
    if asked.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0


if __name__ == "__main__":
    doors.run(main)
