"""Pack clouds once: ``python -m ogreid.pack NAME [--root DIR | --images DIR | --published DIR] [...]``."""

from collections.abc import Sequence

from ogreid.config import command_line
from ogreid.errors import InputError
from ogreid.registry import DATASETS

EPILOG = f"""\
data sets: {", ".join(DATASETS)}

examples:
  python -m ogreid.pack plaza-160                            synthetic data: rendered here, nothing to download
  python -m ogreid.pack market --root Market-1501-v15.09.15  with the upright body
  python -m ogreid.pack market --root DIR --meshes bodies    with the bodies of an estimator
  python -m ogreid.pack market --root DIR --bodies estimate  with bodies fitted to landmarks (make pose)
  python -m ogreid.pack market --published 3DMarket+bg       the authors' own clouds
  python -m ogreid.pack people-folder --images DIR           any crops named ID_cCAMERA...
"""


def parser() -> command_line.Parser:
    """The command line."""
    pack = command_line.Parser(
        prog="python -m ogreid.pack",
        description="Lift the crops of a data set, or read published clouds, and pack them for training.",
        epilog=EPILOG,
    )
    pack.add_argument("name", metavar="NAME", help="a data set, synthetic data (plaza-160), or with --images any name")
    what = pack.add_argument_group("what to pack").add_mutually_exclusive_group()
    what.add_argument("--root", metavar="DIR", help="the data set's folder")
    what.add_argument("--published", metavar="DIR", help="the authors' clouds of the data set (.obj)")
    what.add_argument("--images", metavar="DIR", help="a folder of person crops of your own")
    how = pack.add_argument_group("how")
    how.add_argument("--pattern", metavar="REGEX", help="of names in --images: groups identity, camera, maybe tracklet")
    how.add_argument("--dry-run", action="store_true", help="show what names in --images are taken for, pack nothing")
    how.add_argument("--meshes", metavar="DIR|FILE", help="bodies of HMR, ROMP, 4D-Humans, mmhuman3d, SAM 3D Body")
    how.add_argument("--faces", metavar="FILE", help="the body model's faces, where the bodies come without")
    command_line.body_arguments(how)
    how.add_argument(
        "--missing", choices=("error", "upright"), default="error", help="crops without a body (default: %(default)s)"
    )
    how.add_argument("--mode", help="raster (default), vertex (published mapping), nearest")
    how.add_argument("--dtype", choices=("float16", "float32"), help="of the coordinates (default: float16)")
    how.add_argument("--no-background", dest="background", action="store_false", help="only the body's pixels")
    how.add_argument("--extra", action="append", default=[], help="store also: foreground, normal, body (raster)")
    how.add_argument("--allow-count-mismatch", action="store_true", help="take a data set that is not whole")
    how.add_argument("--workers", type=int, help="processes (default: the cores)")
    where = pack.add_argument_group("where")
    where.add_argument("--data", metavar="DIR", help="folder of the stores (default: OGREID_DATA, else data)")
    where.add_argument("--to", metavar="STORE", help="the store's folder (default: DATA/NAME)")
    where.add_argument("--name", dest="store_name", help="the store's name (default: NAME)")
    where.add_argument("--overwrite", action="store_true", help="pack again what is already packed")
    shard = pack.add_argument_group("on several machines").add_mutually_exclusive_group()
    shard.add_argument("--shard", metavar="I/N", help="pack the I-th of N shards beside the store")
    shard.add_argument("--merge", action="store_true", help="merge and verify the shards")
    check = pack.add_argument_group("inspect what is packed")
    check.add_argument("--verify", action="store_true", help="read everything and compare the checksums")
    check.add_argument("--preview", metavar="N", type=int, help="write a page of N crops beside their clouds")
    check.add_argument("--export-ply", metavar="ROW", type=int, help="write one cloud for a viewer")
    return pack


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and pack."""
    args = parser().parse_args(argv)
    if args.workers is not None and args.workers < 1:
        raise InputError(f"--workers {args.workers}: expected 1 or more")
    command_line.check_bodies(args)
    if (args.pattern or args.dry_run) and not args.images:
        raise InputError("--pattern and --dry-run require --images")
    from ogreid.data.packing import log_names, run_pack

    (log_names if args.dry_run else run_pack)(args)
    return 0


if __name__ == "__main__":
    command_line.run(main)
