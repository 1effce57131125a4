"""Stands for ``python -m ogreid.fit`` in the tests of sweeps: the run folder, signals and statuses of a training.

The mAP after epoch e is ``e * (10 - |k - 6|)``. ``$FAKE_EPOCH`` is the length of an epoch in seconds. A file
``fail-<k>`` in the working directory makes the runs with that k fail as often as it has lines, ``refuse-<k>`` with
status 2.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from filelock import FileLock


def main(words: list[str]) -> None:
    resume, name, *settings = words[0] == "--resume", *words[1:]
    given = {"model.k": "4", "trainer.max_epochs": "2", "seed": "0"} | dict(word.split("=", 1) for word in settings)
    k, epochs = int(given["model.k"]), int(given["trainer.max_epochs"])
    folder = Path(name) if resume else Path("runs", name, f"{os.environ['OGREID_STAMP']}-{given['seed']}")
    with Path("starts.txt").open("a") as file:
        file.write(f"{folder} {'resumed' if resume else 'started'} {os.getpid()}\n")
    _fail(k)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    metrics = folder / "metrics.csv"
    with FileLock(folder / "lock"):
        if not metrics.is_file():
            metrics.write_text("epoch,step,train/loss,val/mAP\n")
        for epoch in range(len(metrics.read_text().splitlines()), epochs + 1):
            time.sleep(float(os.environ.get("FAKE_EPOCH", "0")))
            with metrics.open("a") as file:
                file.write(f"{epoch},{epoch},,{epoch * (10 - abs(k - 6))}\n")
            (folder / "checkpoints" / "last.ckpt").touch()
            if stopped:
                return
        numbers = {"rank1": 50.0, "mAP": epochs * (10 - abs(k - 6))}
        (folder / "summary.json").write_text(json.dumps({"retrieval": {"tiny": numbers}, "transfer": {}}))


def _fail(k: int) -> None:
    for kind, status in (("refuse", 2), ("fail", 1)):
        path = Path(f"{kind}-{k}")
        if path.is_file() and (lines := path.read_text().splitlines()):
            path.write_text("\n".join(lines[1:]))
            sys.stderr.write(f"some output\nerror: no {kind} today\n")
            sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
