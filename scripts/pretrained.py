"""The network that ships with ogreid, from the run that trained it.

python -m ogreid.fit --experiment synthetic      about 15 minutes of one core, and as long to make the people
python scripts/pretrained.py runs/synthetic/RUN
"""

import argparse
from pathlib import Path

from ogreid.data.datasets.synthetic_stores import parse_synthetic
from ogreid.models.pretrained import SHIPPED, save_pretrained
from ogreid.models.summary import count_parameters
from ogreid.runs import Run
from ogreid.training.checkpoint import load_checkpoint


def main() -> None:
    """Read the run's result, refuse anything that was not trained on synthetic people only, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", type=Path, default=SHIPPED, metavar="FILE", help="default: the one in the package")
    options = parser.parse_args()
    run = Run.open(options.run)
    loaded = load_checkpoint(run.folder)
    train = loaded.data["train"]
    if not all(map(parse_synthetic, train)):
        raise SystemExit(f"{run.folder}: trained on {', '.join(train)}; expected synthetic people only")
    retrieval = run.summary()["retrieval"]
    results = [f"{name}: mAP {own['mAP']:.1f}, rank-1 {own['rank1']:.1f}" for name, own in retrieval.items()]
    card = {
        "trained on": f"synthetic people only: {', '.join(train)}",
        "command": "python -m ogreid.fit --experiment synthetic",
        "parameters": str(count_parameters(loaded.module.network)),
        "evaluated on people it never saw": "; ".join(results),
        "license": "MIT, as ogreid",
        "not for": "deciding about anybody: it was never trained on a photograph, and real people differ",
    }
    views = {"scales": list(loaded.module.scales), "mirror": loaded.module.hparams["mirror"]}
    data = {"inputs": loaded.data["inputs"]}
    save_pretrained(loaded.module.network, options.to, data=data, options=views, card=card)
    print(f"{options.to}: {options.to.stat().st_size / 1e6:.2f} MB; {'; '.join(results)}")


if __name__ == "__main__":
    main()
