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
# # One cloud through OG-Net
#
# OG-Net never looks at the picture: it asks which points are near each other, blends their colors, keeps fewer points,
# and asks again. Position says who is near whom; appearance is what is learned from.
#
# It needs `pip install -e ".[notebooks]"`, in the repository.

# %%
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from ogreid.data import Store
from ogreid.data.batch import CloudBatch
from ogreid.data.datasets.synthetic_stores import ensure_synthetic
from ogreid.data.preview import beside, draw_cloud
from ogreid.data.transforms import to_network
from ogreid.models import build_model
from ogreid.models.ognet import Level
from ogreid.ops import ball, farthest_points, nearest
from ogreid.reporting.terminal import network_table
from ogreid.training.checkpoint import load_checkpoint

# %% tags=["parameters"]
data = Path("../data")  # where stores lie
name = "plaza-8"
row = 3  # which sighting is followed
count = 4096  # points the network sees, half of what is stored
run = None  # a run folder, to follow a trained network; else one as it is before training

# %%
torch.manual_seed(0)
network = (build_model("ognet") if run is None else load_checkpoint(run).module.network).eval()
Console().print(network_table("OG-Net", network, count))

# %% [markdown]
# ## What it sees
#
# Every other stored point, centered; colors minus 0.5. The store keeps points in a scattered order, so "every other" is
# an even choice.

# %%
store = Store.open(ensure_synthetic(name, data))
stored = CloudBatch(*(torch.from_numpy(part) for part in store.raw([row])), *torch.zeros(3, 1, dtype=torch.int64))
xyz, rgb = to_network(stored, count)[:2]
cloud = xyz[0].numpy()
body = np.flatnonzero(np.abs(cloud[:, 2] - np.median(cloud[:, 2])) > 0.03)  # most points stand on the plane behind it
colors = np.rint(255 * (rgb[0].numpy() + 0.5)).astype(np.uint8)


def marked(angle: float, **groups: tuple[np.ndarray, tuple[int, int, int]]) -> np.ndarray:
    """The cloud in pale colors, groups of points in one color each."""
    shown, marks = (0.3 * colors + 0.7 * 255).astype(np.uint8), np.zeros(count, dtype=int)
    for number, (index, color) in enumerate(groups.values(), start=1):
        shown[index], marks[index] = color, number
    return draw_cloud(cloud, shown, angle, background=255, marked=marks)


RED, BLUE = (214, 39, 40), (31, 119, 180)
beside(store.crop(row), *(draw_cloud(cloud, colors, angle, background=255) for angle in (0, 45, 90)))

# %% [markdown]
# ## Neighbors
#
# A graph convolution blends a point with its k = 20 nearest points. In red some points of the body, in blue their
# neighbors: small spots, since the points lie close. Seen from the side: a body's neighbors are mostly of the body,
# though the background touches it in the picture.

# %%
graph = nearest(xyz, network.k)[0].numpy()
chosen = body[:: len(body) // 12]
beside(*(marked(angle, near=(graph[chosen].ravel(), BLUE), chosen=(chosen, RED)) for angle in (0, 60)))

# %% [markdown]
# ## Kept points
#
# After each module fewer points go on: those farthest from each other, so that they cover body and background evenly.
# The cloud is sampled once; the first 384 of the 768 farthest points are the 384 farthest. Points within about 3 cm of
# the center are never chosen, as in the released code.

# %%
kept = farthest_points(xyz, network.num_kept[0], skip_origin=True)
beside(*(marked(0, kept=(kept[0, :many].numpy(), RED)) for many in network.num_kept))

# %% [markdown]
# ## Groups at three scales
#
# A kept point speaks for its surroundings: it gathers up to 8, 16 and 32 points within 10, 20 and 40 cm. The first in
# the order of the cloud are taken, which for scattered points is a fair choice.

# %%
center = kept[:, np.isin(kept[0], body)][:, 8:9]  # one of the kept points that are on the body
around = [ball(xyz, xyz[:, center[0]], *scale)[0, 0].numpy() for scale in ((0.1, 8), (0.2, 16), (0.4, 32))]
beside(*(marked(0, members=(members, BLUE), center=(center[0].numpy(), RED)) for members in around))

# %% [markdown]
# ## Module by module
#
# The whole way, step by step: each module's graph, its features, the points it keeps. In the last module neighbors are
# looked for by position *and* appearance, so they may be far apart on the body.

# %%
level, features = Level(xyz, kept, network.k, network.backend), rgb
with torch.no_grad():
    for number, (stage, next_count) in enumerate(zip(network.stages, (*network.num_kept[1:], 1), strict=True), start=1):
        last, graph = level, stage.graph(level, features)
        features = stage(level, features)
        before, after = level.xyz.shape[1], features.shape[1]
        print(f"module {number}: {before:4} points -> {after:3} of {features.shape[2]:3} channels")
        level = level.reduced(next_count)

place = kept[0, : last.xyz.shape[1]].numpy()  # where the points of the last module are in the cloud
by_position = nearest(last.xyz, network.k)[0].numpy()
one = int(np.flatnonzero(np.isin(place, body))[8])
beside(
    *(marked(0, near=(place[near[one]], BLUE), one=(place[[one]], RED)) for near in (by_position, graph[0].numpy())),
)

# %% [markdown]
# Left: neighbors of one of the 192 points by position alone; right: by position and appearance, as the last module has
# them.
#
# ## The embedding
#
# Maximum and mean over the last 96 points, one linear map, BatchNorm: 512 numbers. Each maximum is some point's; the
# darker a point, the more of the channels it speaks for.

# %%
with torch.no_grad():
    embedding = network.norm(network.project(network.pooling(features)))
    assert torch.allclose(embedding, network(xyz, rgb), atol=1e-5), "step by step is the whole network"
wins = np.bincount(features[0].argmax(0).numpy(), minlength=features.shape[1])
order = np.argsort(wins)
shade = np.linspace(214, 0, len(order)).astype(int)
loud = {str(i): (kept[0, [i]].numpy(), (214, int(shade[rank]), int(shade[rank]))) for rank, i in enumerate(order)}
print(f"the loudest of {len(wins)} points has {wins.max()} of the {wins.sum()} maxima, {(wins == 0).sum()} have none")
beside(marked(0, **loud), marked(60, **loud))

# %% [markdown]
# With `run = "../runs/demo/<stamp>-<seed>"` above, the same pictures are of a trained network (`make demo` makes one).
# Next: [train and evaluate](03_train_and_evaluate.ipynb).
