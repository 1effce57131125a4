"""Crops lifted per second, beside a line-by-line transcription of the published mapping.

python benchmarks/lifting.py [--seconds 3]

One thread; rates are per second of the process's own CPU time, which does not depend on what else runs.
"""

import argparse
import time

import numpy as np

from ogreid.lifting import Mesh, WeakCamera, lift, upright_template


def transcription(image, mesh):
    """The released mapping, one vertex and one pixel at a time."""
    s, (tx, ty) = mesh.camera.scale, mesh.camera.translation
    z = mesh.vertices[:, 2]
    owner = np.full((128, 64), -1)
    for number in range(len(mesh.vertices)):
        x, y = mesh.vertices[number, 0], mesh.vertices[number, 1]
        row = min(max(int(np.floor((s * (y + ty) + 1) / 2 * 128 + 0.5)), 0), 127)
        column = min(max(int(np.floor((s * (x + tx) + 1) / 2 * 128 + 0.5)) - 32, 0), 63)
        if owner[row, column] < 0 or z[number] < z[owner[row, column]]:
            owner[row, column] = number
    kept = owner.copy()
    for row in range(1, 127):
        for column in range(1, 63):
            here = owner[row, column]
            for other in ((row - 1, column), (row, column - 1)):
                if here >= 0 and owner[other] >= 0 and z[owner[other]] - z[here] > 0.05:
                    kept[other] = -1
    places = sorted((kept[row, column], row, column) for row in range(128) for column in range(64))
    lines = [(*mesh.vertices[n], *(image[row, column] / 255)) for n, row, column in places if n >= 0]
    depth = z.mean()
    for row in range(128):
        for column in range(64):
            if kept[row, column] < 0:
                x, y = ((column + 32) / 128 * 2 - 1) / s - tx, (row / 128 * 2 - 1) / s - ty
                lines.append((x, y, depth, *(image[row, column] / 255)))
    return np.array(lines)


def rate(work, seconds):
    """Calls per CPU second, without the first one (compilation)."""
    work()
    start, calls = time.process_time(), 0
    while time.process_time() - start < seconds:
        work()
        calls += 1
    return calls / (time.process_time() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="per form")
    seconds = parser.parse_args().seconds
    template = upright_template()
    mesh = Mesh(template.vertices, template.faces, WeakCamera(1.02, (0.03, -0.02)))
    image = np.random.default_rng(0).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    assert np.allclose(transcription(image, mesh), lift(image, mesh, mode="vertex"), atol=1e-5)
    print(f"one body of {len(mesh.vertices)} vertices and {len(mesh.faces)} faces, 128 x 64 crops, one thread\n")
    plain = rate(lambda: transcription(image, mesh), seconds)
    print(f"{'form':34} {'crops/s':>8} {'ratio':>6}")
    print(f"{'vertex, transcribed line by line':34} {plain:8.1f} {1:6.1f}")
    for mode in ("vertex", "nearest", "raster"):
        ours = rate(lambda mode=mode: lift(image, mesh, mode=mode), seconds)
        print(f"{mode:34} {ours:8.1f} {ours / plain:6.1f}")


if __name__ == "__main__":
    main()
