"""Pack clouds once: ``python -m ogreid.pack NAME [--root DIR | --images DIR | --published DIR] [...]``."""

from collections.abc import Sequence
from ogreid.config import command_line
from ogreid.errors import InputError

EPILOG = """\
examples:
  python -m ogreid.pack plaza-160                            synthetic people: made here, nothing to download
  python -m ogreid.pack market --root Market-1501-v15.09.15  with the upright body
  python -m ogreid.pack market --root DIR --meshes bodies    with the bodies of an estimator
  python -m ogreid.pack market --published 3DMarket+bg       the authors' own clouds
  python -m ogreid.pack people-folder --images DIR           any crops named ID_cCAMERA...
"""


def parser() -> command_line.Parser:
    """The command line of this door."""
    made = command_line.Parser(
        prog="python -m ogreid.pack",
        description="Lift the crops of a benchmark, or read published clouds, and pack them for training.",
        epilog=EPILOG,
    )
    made.add_argument("name", metavar="NAME", help="a benchmark, a synthetic domain (plaza-160), or with --images any")
    what = made.add_argument_group("what to pack").add_mutually_exclusive_group()
    what.add_argument("--root", metavar="DIR", help="the benchmark's folder")
    what.add_argument("--published", metavar="DIR", help="the authors' clouds of the benchmark (.obj)")
    what.add_argument("--images", metavar="DIR", help="a folder of person crops of your own")
    how = made.add_argument_group("how")
    how.add_argument("--meshes", metavar="DIR|FILE", help="bodies of HMR, ROMP, 4D-Humans, mmhuman3d, SAM 3D Body")
    how.add_argument("--faces", metavar="FILE", help="the body model's faces, where the bodies come without")
    how.add_argument("--mode", help="raster (default), vertex (published mapping), nearest")
    how.add_argument("--dtype", choices=("float16", "float32"), help="of the coordinates (default: float16)")
    how.add_argument("--no-background", dest="background", action="store_false", help="only the body's pixels")
    how.add_argument("--extra", action="append", default=[], help="store also: foreground, normal, body (raster)")
    how.add_argument("--allow-count-mismatch", action="store_true", help="take a benchmark that is not whole")
    how.add_argument("--workers", type=int, help="processes (default: the cores)")
    where = made.add_argument_group("where")
    where.add_argument("--data", metavar="DIR", help="folder of the stores (default: OGREID_DATA, else data)")
    where.add_argument("--to", metavar="STORE", help="the store's folder (default: DATA/NAME)")
    where.add_argument("--name", dest="store_name", help="the store's name (default: NAME)")
    where.add_argument("--overwrite", action="store_true", help="pack again what is already packed")
    share = made.add_argument_group("on several machines").add_mutually_exclusive_group()
    share.add_argument("--shard", metavar="I/N", help="pack the I-th of N shares beside the store")
    share.add_argument("--merge", action="store_true", help="join and verify the shares")
    look = made.add_argument_group("look at what is packed")
    look.add_argument("--verify", action="store_true", help="read everything and compare the checksums")
    look.add_argument("--preview", metavar="N", type=int, help="write a page of N crops beside their clouds")
    look.add_argument("--export-ply", metavar="ROW", type=int, help="write one cloud for a viewer")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, compose, pack."""
    asked = parser().parse_args(argv)
    if asked.workers is not None and asked.workers < 1:
        raise InputError(f"--workers {asked.workers}: expected 1 or more")
    from ogreid.data.store.jobs import run_job

    run_job(asked)
    return 0


if __name__ == "__main__":
    command_line.run(main)
