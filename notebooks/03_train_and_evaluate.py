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
# # Train and evaluate
#
# A narrow OG-Net learns to find forty synthetic people, with a plain Lightning Trainer. Then the same as an experiment
# whose run folder holds everything.
#
# It needs `pip install -e ".[notebooks]"`, in the repository.

# %%
from html import escape
from pathlib import Path

import lightning as L
import numpy as np
from IPython.display import HTML
from PIL import Image
from rich.console import Console

from ogreid import ReIDDataModule, ReIDModule, RetrievalEvaluation, TransferEvaluation, config
from ogreid.reporting.galleries import gallery_sheet
from ogreid.reporting.terminal import results_table
from ogreid.training.inference import evaluate, load_network
from ogreid.training.train import train

# %% tags=["parameters"]
data, runs = Path("../data"), Path("../runs")
people = 80  # half of them are learned, the others are evaluated
elsewhere = 20  # people of another domain: other cameras, winter clothes
epochs = 6
num_points = 512
network = {"channels": [24, 48, 96, 192], "num_kept": [128, 64, 32, 16], "k": 8}

# %% [markdown]
# ## With a Trainer
#
# A data module, a module and two callbacks. Synthetic stores are made where they are missing; a benchmark is packed
# first (`python -m ogreid.pack market --root DIR`) and named `market`.

# %%
clouds = ReIDDataModule(
    data,
    train=f"plaza-{people}",
    test=f"plaza-{people}",
    transfer=f"winter-{elsewhere}",
    num_points=num_points,
    batch_size=32,
    sampler="pk",
    num_workers=0,
)
model = ReIDModule("ognet", model_options=network, loss="ce", dropout=0.3, lr=2e-3, loss_warmup=0, scales=(1.0,))
evaluations = [RetrievalEvaluation(), TransferEvaluation()]
quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False, "enable_model_summary": False}
trainer = L.Trainer(
    max_epochs=epochs, accelerator="cpu", check_val_every_n_epoch=epochs, callbacks=evaluations, **quiet
)
trainer.fit(model, clouds)
numbers = {name: value for part in trainer.test(model, clouds, verbose=False) for name, value in part.items()}
{name: round(value, 1) for name, value in numbers.items() if name.endswith(("rank1", "/mAP"))}

# %% [markdown]
# ## Embeddings
#
# `predict` gives normalized embeddings with identities, cameras and sources, one list of batches per set.

# %%
batches = trainer.predict(model, clouds)
first = batches[0][0]
first.embedding.shape, first.source[:2]

# %% [markdown]
# ## A checkpoint describes itself
#
# It rebuilds network and classifier, and every command takes it: `python -m ogreid.search --checkpoint last.ckpt ...`.

# %%
runs.mkdir(exist_ok=True)
trainer.save_checkpoint(runs / "plain.ckpt")
ReIDModule.load_from_checkpoint(runs / "plain.ckpt").hparams

# %% [markdown]
# ## As an experiment
#
# The same settings as arguments in a YAML file; `demo` and what differs from it, as on the command line. Baselines that
# a network must beat (`histogram`, `untrained`) are evaluated first.

# %%
experiment = config.load(
    "demo",
    [
        f"data.root={data}",
        f"runs.root={runs}",
        f"data.train=[plaza-{people}]",
        f"data.test=[plaza-{people}]",
        f"data.transfer=[winter-{elsewhere}]",
        f"data.num_points={num_points}",
        "data.num_workers=0",
        f"trainer.max_epochs={epochs}",
        "trainer.enable_progress_bar=false",
        "wandb.mode=disabled",
        *(f"model.{name}={value}" for name, value in network.items()),
    ],
)
run = train(experiment)

# %% [markdown]
# The best, the median and the worst query: framed green is the same person in another camera.

# %%
with np.load(run.folder / "pictures" / f"plaza-{people}-galleries.npz") as galleries:
    sheet = Image.fromarray(gallery_sheet(galleries))
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
# ## Evaluate again, elsewhere
#
# Any store: `python -m ogreid.evaluate --checkpoint RUN --on STORE ...`. Here: people whom it has never seen, in a
# domain that it has never seen, with all of its points and with a quarter of them.

# %%
on = f"winter-{elsewhere}"
trained = load_network(str(run.folder))
rows = {}
for points in (num_points, num_points // 4):
    rows[f"{experiment.model.name}, {points} points", on] = evaluate(trained, [on], data, num_points=points)[on]
Console().print(results_table("transfer", rows))

# %% [markdown]
# Next: [sweeps](04_sweeps.ipynb).
