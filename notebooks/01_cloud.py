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
# # From a crop to a cloud
#
# A camera saw a person; an estimator guessed the body under the clothes. *Lifting* puts the colors of the picture onto
# that body, and the background behind it. The person here is synthetic, made on the spot: nothing is downloaded.
#
# It needs `pip install -e ".[notebooks]"`, in the repository.

# %%
from pathlib import Path

import numpy as np

from ogreid.data import Store
from ogreid.data.datasets.synthetic_stores import ensure_synthetic
from ogreid.data.preview import beside, draw_cloud
from ogreid.lifting import lift, lift_surface, upright_template
from ogreid.synthetic import read_estimates

# %% tags=["parameters"]
data = Path("../data")  # where stores lie
name = "plaza-8"  # eight people before six cameras
row = 3  # which sighting is followed

# %%
store = Store.open(ensure_synthetic(name, data))
store

# %% [markdown]
# ## A crop and a body
#
# What the estimator gives is a mesh and a camera: it knows no hair, no skirt, no bag, and it errs a little. Beside the
# crop: the estimated surface as the camera sees it, once by the direction in which it faces and once by its depth.

# %%
crop = store.crop(row)
mesh = read_estimates(data / "synthetic" / name)[str(store.rows["source"][row])]
surface = lift_surface(crop, mesh)


def gray(values: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1, one for each pixel, as a picture; what is not on the body is white."""
    shown = np.where(surface.foreground, 255 * values, 255).reshape(crop.shape[:2])
    return np.repeat(shown[..., None], 3, axis=2).astype(np.uint8)


depth = surface.points[:, 2]
near, far = depth[surface.foreground].min(), depth[surface.foreground].max()
print(f"{len(mesh.vertices)} vertices, {len(mesh.faces)} faces, the body {far - near:.2f} m deep")
beside(crop, gray(-surface.normal[:, 2]), gray(0.8 * (far - depth) / (far - near)))

# %% [markdown]
# ## The cloud
#
# Every pixel becomes one point: 128 x 64 = 8192 points of (x, y, z, r, g, b), in meters and 0 to 1. Pixels on the body
# lie on its surface; the others stand on a plane at the body's mean depth. Seen from the front it is the crop again;
# then the same cloud turned.

# %%
points = lift(crop, mesh)


def turned(points: np.ndarray, *angles: float) -> list[np.ndarray]:
    """A cloud from several sides."""
    rgb = np.rint(255 * points[:, 3:]).astype(np.uint8)
    return [draw_cloud(points[:, :3], rgb, angle, background=255) for angle in angles]


beside(*turned(points, 0, 30, 60, 90))

# %% [markdown]
# ## Three modes
#
# | mode | each pixel gets |
# |---|---|
# | `raster` | the visible point of the *surface*, tested against faces |
# | `vertex` | what the released code gives it: the vertex it owns, or the plane |
# | `nearest` | what the paper's text says: the closest vertex |
#
# Testing vertices alone leaves holes: pixels on the body without a vertex of their own fall back to the plane. Taking
# the closest vertex closes them and spills over the edge. How many points are lifted off the plane, against how many
# pixels lie on the body, tells both.

# %%
plane = float(mesh.vertices[:, 2].mean())
clouds = {mode: lift(crop, mesh, mode=mode) for mode in ("raster", "vertex", "nearest")}
share = {mode: (np.abs(cloud[:, 2] - plane) > 1e-6).mean() for mode, cloud in clouds.items()}
print(f"{surface.foreground.mean():6.1%} of all pixels lie on the body")
for mode in clouds:
    print(f"{share[mode]:6.1%} of all points are lifted off the plane: {mode}")
beside(*(turned(cloud, 60)[0] for cloud in clouds.values()))

# %% [markdown]
# ## Without a background, and without a body
#
# `background=False` is the paper's "visible part only". And where no estimator ran at all, the built-in upright body
# lifts a plain crop: wrong in the limbs, right in the large.

# %%
alone = lift(crop, mesh, background=False)
beside(*turned(alone[alone[:, 3:].mean(1) < 1], 0, 60), *turned(lift(crop, upright_template()), 60, 90))

# %% [markdown]
# A store holds such clouds once, packed: `python -m ogreid.pack market --root DIR --preview 20` packs a benchmark and
# writes a page of crops beside their clouds. Next: [what a network makes of a cloud](02_network.ipynb).
