"""Sweep files and sweep folders made of arithmetic, for the tests of sweeps."""

import json
import sys
from pathlib import Path

from fabricated import numbers

TINY = """\
data: {num_points: 64, batch_size: 8, num_workers: 0, train: [tiny], test: [tiny], sampler: pk, num_instances: 2}
model: {channels: [8, 16], num_kept: [16, 8], k: 4, embedding: 16}
loss: {dropout: 0}
optimizer: {lr: 0.01, loss_warmup: 0}
evaluation: {scales: [1.0]}
trainer: {accelerator: cpu, devices: 1, max_epochs: 2, check_val_every_n_epoch: 1, log_every_n_steps: 1}
runs: {pictures: false}
wandb: {mode: disabled}
"""
"""An experiment that ``conftest.stores`` feeds and that takes a moment."""

SWEEP = """\
method: {method}
metric: {{name: val/mAP, goal: maximize}}
command: ["${{env}}", "python", "-m", "ogreid.fit", {experiment}"${{args_no_hyphens}}"]
parameters: {parameters}
{more}
"""

FAKE = f"""\
import sys
from ogreid import sweep
from ogreid.config import command_line
from ogreid.sweeps import running
running.COMMAND = (sys.executable, {str(Path(__file__).with_name("fake_fit.py"))!r})
running.POLL, running.LOOK = 0.05, 0.2
command_line.run(sweep.main)
"""


def write_sweep(path: Path, parameters: str, *, method="grid", experiment: str | None = "tiny", more="") -> Path:
    """A sweep file; ``parameters`` as YAML in one line."""
    named = "" if experiment is None else f'"--experiment", "{experiment}", '
    path.write_text(SWEEP.format(method=method, experiment=named, parameters=parameters, more=more))
    return path


def fake_sweep(*words: str) -> list[str]:
    """The command line of a sweep whose runs are ``fake_fit.py``."""
    Path("fake_sweep.py").write_text(FAKE)
    return [sys.executable, "fake_sweep.py", *words]


def make_sweep(
    folder: Path, rows: list[dict], *, transfer: str | None = None, on: str = "plaza-8", name="made"
) -> Path:
    """A sweep's folder as it is left: each row holds parameters and ``level`` (the mAP), or ``error``."""
    folder.mkdir(parents=True)
    keys = sorted({key for row in rows for key in row if key not in ("level", "error", "published")})
    runs = [_entry(row, on, transfer) for row in rows]
    varying = [key for key in keys if len({repr(row.get(key)) for row in rows}) > 1]
    content = {"name": name, "metric": {"name": "val/mAP", "goal": "maximize"}, "parameters": varying, "runs": runs}
    (folder / "sweep.json").write_text(json.dumps(content))
    return folder


def _entry(row, on, transfer):
    parameters = {key: value for key, value in row.items() if key not in ("level", "error", "published")}
    if "error" in row:
        return {"parameters": parameters, "status": "failed", "error": row["error"], "folder": "somewhere"}
    results = {
        "retrieval": {on: numbers(row["level"])},
        "transfer": {transfer: numbers(row["level"] / 2)} if transfer else {},
    }
    return {"parameters": parameters, "status": "finished", "published": row.get("published", {}), **results}
