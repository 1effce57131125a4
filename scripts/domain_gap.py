"""How synthetic crops differ from real ones: color, contrast, sharpness, size and place of the person.

python scripts/domain_gap.py market-estimated plaza-160 winter-40

Stores under the data root; sizes of people need ``foreground`` (``--bodies estimate``, ``--extra foreground``). Prints
a table of means over crops, and in brackets the standard deviation between crops; nothing of a picture is kept.
"""

import argparse

import numpy as np

from ogreid.config import data_root
from ogreid.data import Store
from ogreid.data.store.mapped import scattered


def statistics(crop: np.ndarray, mask: np.ndarray | None) -> dict[str, float]:
    """Numbers of one crop (H, W, 3) uint8 and the pixels (H, W) of its person."""
    colors = crop.astype(np.float64) / 255
    light = colors @ (0.299, 0.587, 0.114)
    laplacian = 4 * light[1:-1, 1:-1] - light[:-2, 1:-1] - light[2:, 1:-1] - light[1:-1, :-2] - light[1:-1, 2:]
    values = {
        "brightness": light.mean(),
        "contrast": light.std(),
        "red - blue": (colors[..., 0] - colors[..., 2]).mean(),
        "saturation": (colors.max(axis=2) - colors.min(axis=2)).mean(),
        "sharpness": laplacian.std(),
        "sharpness / contrast": laplacian.std() / max(light.std(), 1e-3),
        "neighbors, correlation": float(np.corrcoef(light[:, 1:].ravel(), light[:, :-1].ravel())[0, 1]),
    }
    if mask is not None and mask.any():
        rows, columns = np.nonzero(mask)
        values |= {
            "person, share of pixels": mask.mean(),
            "person, top row / H": rows.min() / len(mask),
            "person, height / H": np.ptp(rows) / len(mask),
            "person, width / W": np.ptp(columns) / mask.shape[1],
            "person, off the middle / W": abs(columns.mean() / mask.shape[1] - 0.5),
            "person against background, light": abs(light[mask].mean() - light[~mask].mean()) if not mask.all() else 0,
        }
    return values


def measure(store: Store, count: int) -> dict[str, np.ndarray]:
    """Statistics of crops spread evenly over a store, by name."""
    rows = np.linspace(0, len(store) - 1, min(count, len(store))).astype(int)
    pixels = np.argsort(scattered(store.points))
    every: dict[str, list[float]] = {}
    for row in rows.tolist():
        crop, mask = store.crop(row), None
        if crop is None:
            raise SystemExit(f"{store.path}: holds no crops; pack images in raster mode")
        if "foreground" in store.fields:
            mask = store.field("foreground", [row])[0][pixels].reshape(crop.shape[:2])
        for name, value in statistics(crop, mask).items():
            every.setdefault(name, []).append(float(value))
    return {name: np.array(values) for name, values in every.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+", help="names under the data root")
    parser.add_argument("--data", help="data root (OGREID_DATA, else data)")
    parser.add_argument("--count", type=int, default=1000, help="crops of each store (%(default)s)")
    options = parser.parse_args()
    tables = [measure(Store.open(data_root(options.data) / name), options.count) for name in options.stores]
    names = list(dict.fromkeys(name for table in tables for name in table))
    print(f"| {' | '.join(['', *options.stores])} |\n|---|{'--:|' * len(tables)}")
    for name in names:
        cells = [f"{table[name].mean():.3f} ({table[name].std():.3f})" if name in table else "" for table in tables]
        print(f"| {' | '.join([name, *cells])} |")


if __name__ == "__main__":
    main()
