"""Sweep files and sweep folders made of arithmetic, for the tests of sweeps."""

import json
from pathlib import Path

from fabricated import numbers

TINY = """\
data: {points: 64, batch: 8, workers: 0, train: [tiny], retrieval: [tiny], sampling: identity, per_identity: 2}
model: {widths: [8, 16], kept: [16, 8], k: 4, embedding: 16}
loss: {dropout: 0}
optimizer: {lr: 0.01, loss_warmup: 0}
validation: {every: 1, views: [1.0]}
trainer: {accelerator: cpu, devices: "1", max_epochs: 2, log_every_n_steps: 1}
runs: {pictures: false}
wandb: {mode: disabled}
"""
"""An experiment that ``conftest.stores`` feeds and that takes a moment."""

SWEEP = """\
method: {method}
metric: {{name: val/mAP, goal: maximize}}
command: ["${{env}}", "python", "-m", "ogreid.fit", {experiment}"${{args_no_hyphens}}"]
parameters: {parameters}
"""


def write_sweep(path: Path, parameters: str, *, method: str = "grid", experiment: str | None = "tiny") -> Path:
    """A sweep file; ``parameters`` as YAML in one line."""
    named = "" if experiment is None else f'"--experiment", "{experiment}", '
    path.write_text(SWEEP.format(method=method, experiment=named, parameters=parameters))
    return path


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
    found = {
        "retrieval": {on: numbers(row["level"])},
        "transfer": {transfer: numbers(row["level"] / 2)} if transfer else {},
    }
    return {"parameters": parameters, "status": "finished", "published": row.get("published", {}), **found}
