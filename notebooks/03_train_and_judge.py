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
# # Train and judge
#
# What `make demo` does in five minutes, smaller: a narrow OG-Net learns to find forty synthetic people. The same as
# `python -m ogreid.fit --experiment demo ...`, from Python.

# %%
from html import escape
from pathlib import Path

import numpy as np
from IPython.display import HTML
from PIL import Image
from rich.console import Console

from ogreid import config
from ogreid.reporting.galleries import gallery_sheet
from ogreid.training.inference import judge_stores, network_for
from ogreid.reporting.terminal import results_table
from ogreid.training.train import train

# %% tags=["parameters"]
data, runs = Path("../data"), Path("../runs")
people = 80  # half of them are learned, the others are judged
elsewhere = 20  # people of another domain: other cameras, winter clothes
epochs = 6
model = ["model.channels=[24,48,96,192]", "model.num_kept=[128,64,32,16]", "model.k=8"]

# %% [markdown]
# ## The experiment
#
# `demo` and what differs from it: the same `group.key=value` as on the command line, checked before anything runs.

# %%
experiment = config.load(
    "demo",
    [
        f"data.root={data}",
        f"runs.root={runs}",
        f"data.train=[plaza-{people}]",
        f"data.test=[plaza-{people}]",
        f"data.transfer=[winter-{elsewhere}]",
        f"trainer.max_epochs={epochs}",
        "trainer.enable_progress_bar=false",
        "wandb.mode=disabled",
        *model,
    ],
)
print(config.to_yaml(experiment)[:600], "...")

# %% [markdown]
# ## Train
#
# The stores are made where they are missing. `histogram` and `untrained` are judged first: what a network must beat.

# %%
run = train(experiment)

# %% [markdown]
# ## What it finds
#
# The best, the median and the worst query: framed green is the same person in another camera.

# %%
with np.load(run.folder / "pictures" / f"plaza-{people}-galleries.npz") as held:
    sheet = Image.fromarray(gallery_sheet(held))
sheet

# %% [markdown]
# ## The report
#
# One page that needs nothing else: curves, tables, rankings, a cloud that turns. It lies in the run's folder as
# `report.html`.

# %%
page = escape((run.folder / "report.html").read_text())
HTML(f'<div><iframe srcdoc="{page}" width="100%" height="900" style="border: 0"></iframe></div>')

# %% [markdown]
# ## Judge again, elsewhere
#
# A finished run is judged on any store: `python -m ogreid.evaluate --checkpoint RUN --on STORE ...`. Here: people whom
# it has never seen, in a domain that it has never seen, with all of its points and with a quarter of them.

# %%
on = f"winter-{elsewhere}"
best = network_for(run=str(run.folder), published=None, model=None)
rows = {}
for points in (experiment.data.num_points, experiment.data.num_points // 4):
    found = judge_stores(best, [on], str(data), points=points)
    rows[f"{experiment.model.name}, {points} points", on] = found[on]
Console().print(results_table("transfer", rows))

# %% [markdown]
# Next: [sweeps](04_sweeps.ipynb).
