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
# # A published checkpoint
#
# The authors released their networks as folders: `opts.yaml` and `model_last.pth`. They load here strictly, without
# running pickled code, and give the numbers that the released code gave. The folder below is a tiny network of the same
# architecture that the tests hold; put the path of your own download there, and the same cells work.
#
# It needs `pip install -e ".[notebooks]"`, in the repository.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from ogreid.data.datasets.synthetic_stores import ensure_synthetic
from ogreid.models.published import load_published, published_overrides
from ogreid.reporting.terminal import network_table, results_table
from ogreid.training.conversion import published_to_run
from ogreid.training.inference import evaluate, load_network
from ogreid.training.views import embed_scales

# %% tags=["parameters"]
folder = Path("../tests/golden/ognet")
weights = "model_last.pth"
data = Path("../data")  # where stores lie
store = "plaza-8"  # with a real checkpoint: market
points = 1024  # with a real checkpoint: 4096

# %% [markdown]
# ## What the options say
#
# Every option of the released code that changes the network is translated; one that has no counterpart is refused by
# its name.

# %%
published_overrides(folder)

# %%
network, head = load_published(folder, weights)
Console().print(network_table(folder.name, network, points))
print(f"trained on {head.classifier.out_features} identities")

# %% [markdown]
# ## The released numbers
#
# Beside the tiny network lie numbers that the released code itself computed. The embedding at test time is the sum of
# two scales, the cloud and the cloud scaled by 1.1, normalized.

# %%
if (folder / "expected.npz").is_file():
    with np.load(folder / "expected.npz") as expected, torch.no_grad():
        xyz, rgb = (torch.from_numpy(expected[part]) for part in ("xyz", "rgb"))
        pairs = {
            "embedding": network(xyz, rgb),
            "logits": head.classifier(network(xyz, rgb)),
            "two_view_embedding": embed_scales(network, xyz, rgb),
        }
        differ = {name: float(np.abs(ours.numpy() - expected[name]).max()) for name, ours in pairs.items()}
    print({name: f"{value:.1e}" for name, value in differ.items()})

# %% [markdown]
# ## Evaluate it
#
# The same as `python -m ogreid.evaluate --published FOLDER --on market`. Synthetic stores are made where they are
# missing; a benchmark must be packed first. (The tiny network was never trained on people: its numbers are those of
# chance.)

# %%
if store.startswith("plaza"):
    ensure_synthetic(store, data)
released = load_network(published=str(folder), weights=weights)
results = evaluate(released, [store], data, num_points=points)
Console().print(results_table("published", {(folder.name, store): results[store]}))

# %% [markdown]
# ## As a run of ours
#
# Converted once, it is a run like any other: evaluated, searched with, exported as a program. The same as
# `python -m ogreid.export --published FOLDER --to RUN`.

# %%
with tempfile.TemporaryDirectory() as place:
    run = published_to_run(folder, Path(place) / "published", weights)
    again = evaluate(load_network(str(run.folder)), [store], data, num_points=points)
same = again[store] == results[store]
same
