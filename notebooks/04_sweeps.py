# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sweeps
#
# One setting over several values, or several over all their combinations. The file is in W&B's own schema, so the same
# one works with `wandb sweep` where there is a server; `python -m ogreid.sweep FILE` runs it here. The shipped ones are
# in `experiments/sweeps`.
#
# It needs `pip install -e ".[notebooks]"`, in the repository.

# %%
import json
from pathlib import Path

from IPython.display import SVG, Markdown

from ogreid import evaluate, sweep

# %% tags=["parameters"]
data, runs = Path("../data"), Path("../runs")
people = 40  # half of them are learned, the others are evaluated
neighbors = [1, 4, 8, 16]  # 1 is no graph
densities = ["0.02", "0.05", "0.1", "0.25", "0.5", "1"]
settings = [
    "model.channels=[24,48,96,192]",
    "model.num_kept=[128,64,32,16]",
    "trainer.max_epochs=6",
    "data.num_points=512",
]

# %% [markdown]
# ## A sweep
#
# How many neighbors should a point have? Figure 7 of the paper, small: one short training for each k. What the file
# does not say comes from the experiment (`demo`) and from the settings behind it. A sweep that was stopped resumes
# when it is started again, without repeating a run.

# %%
runs.mkdir(exist_ok=True)
file = runs / "neighbors.yaml"
written = file.write_text(f"""\
description: mAP over the number of neighbors
method: grid
metric: {{name: val/mAP, goal: maximize}}
command: ["${{env}}", python, -m, ogreid.fit, --experiment, demo, "${{args_no_hyphens}}"]
parameters:
  model.k: {{values: {neighbors}}}
""")
where = [f"data.root={data}", f"runs.root={runs}", "wandb.mode=disabled", "trainer.enable_progress_bar=false"]
stores = [f"data.train=[plaza-{people}]", f"data.test=[plaza-{people}]", "data.transfer=[]"]
arguments = [str(file), *where, *stores, *settings, "evaluation.baselines=[]"]
status = sweep.main([*arguments, "--dry-run"])

# %%
status = sweep.main(arguments)

# %% [markdown]
# ## What came out
#
# `sweep.json` holds every run, a table and a plot lie beside it. One short training each is little evidence: a sweep
# over `seed` too (`seed: {values: [0, 1, 2]}`) shows mean and spread.

# %%
folder = runs / "sweeps" / "neighbors"
record = json.loads((folder / "sweep.json").read_text())
Markdown((folder / "table.md").read_text())

# %%
SVG(filename=str(next(folder.glob("plot*.svg"))))

# %% [markdown]
# ## One network at other densities
#
# Trained once, tested with fewer and with more points than it was trained with (Figure 8): the same as
# `python -m ogreid.evaluate --checkpoint RUN --on STORE --density 0.05 0.1 ...`.

# %%
run = Path(record["runs"][-1]["folder"])
status = evaluate.main(
    ["--checkpoint", str(run), "--on", f"plaza-{people}", "--data", str(data), "--density", *densities]
)

# %%
SVG(filename=str(run / "density.svg"))

# %% [markdown]
# Next: [the authors' own weights](05_published_checkpoint.ipynb).
