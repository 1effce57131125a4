"""Clouds lifted from crops, as a source for the packer."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ogreid import files
from ogreid.data.store.manifest import Field
from ogreid.data.store.mapped import scattered
from ogreid.errors import InputError, nearest_names
from ogreid.lifting import Mesh, Mode, lift, lift_surface, upright_template

HEIGHT, WIDTH = 128, 64
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")  # whatever the name says; for EPS Pillow starts a program
MAX_BYTES, MAX_PIXELS = 1 << 26, 1 << 24
FARTHEST = 6e4  # meters; float16 ends at 65 504
EXTRAS = {"foreground": Field("bool", ()), "normal": Field("float16", (3,)), "body": Field("float32", (3,))}
"""What raster lifting can store beside points and colors, per point (:class:`ogreid.lifting.Lifted`)."""

MeshSource = Callable[[str], Mesh]
"""From a crop's path, relative to the data set's folder, to its estimated body; picklable."""
MaskSource = Callable[[str], np.ndarray | None]
"""From the same path to the person's pixels, (128, 64) bool; None where they are not known; picklable."""


def check_pixels(image: Image.Image) -> None:
    """Refuse an image whose header claims more than any crop has, before memory is taken for it."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, far more than a crop has")


def displayed_size(image: Image.Image) -> tuple[int, int]:
    """Height and width after the rotation that its EXIF data ask for; reads the header only."""
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def upright(source: str) -> Mesh:
    """The mesh source for plain crops: the same standing body for each."""
    return upright_template()


def read_crop(path: Path) -> np.ndarray:
    """A crop as (128, 64, 3) uint8, resized (bilinear) where its size differs; an InputError names a file."""
    return resized(open_crop(path))


def resized(image: Image.Image) -> np.ndarray:
    """An RGB image as (128, 64, 3) uint8."""
    if image.size != (WIDTH, HEIGHT):
        image = image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return np.asarray(image)


def open_crop(path: Path) -> Image.Image:
    """A crop at its own size, in RGB, as a viewer shows it; errors as for :func:`read_crop`."""
    try:
        # In one read: Pillow would ask the file system about forty times for each JPEG.
        with Image.open(io.BytesIO(files.read_bytes(path, MAX_BYTES)), formats=FORMATS) as opened:
            check_pixels(opened)
            # The second frame of a phone's MPO is a preview.
            if opened.format != "MPO" and (frames := getattr(opened, "n_frames", 1)) > 1:
                raise ValueError(f"{frames} frames or pages; expected one")
            return _displayed(opened)
    except Exception as error:  # damaged images make Pillow raise a dozen unrelated classes
        unknown = isinstance(error, UnidentifiedImageError)  # whose own words name a buffer in memory
        reason = f"no {', '.join(FORMATS)}" if unknown else error
        raise InputError(f"{path}: not a readable image ({reason}); replace it or take it out of the folder") from error


def _displayed(image: Image.Image) -> Image.Image:
    """The image in RGB as a viewer shows it: turned as its EXIF data say, 16 bits scaled, transparent pixels white."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):  # which convert() would clip at 255
        gray = np.asarray(image)
        if image.mode == "F" or not 0 <= gray.min() <= gray.max() < 1 << 16:
            raise ValueError(f"pixels of mode {image.mode}, {gray.min()} to {gray.max()}; expected 8 or 16 bits")
        image = Image.fromarray(np.rint(gray / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


@dataclass(frozen=True)
class CropClouds:
    """Crops lifted with the bodies of ``mesh_of``; a :class:`ogreid.data.store.writing.CloudSource`."""

    root: Path  # that the rows' sources are relative to
    mesh_of: MeshSource = upright
    mode: Mode = "raster"  # see ogreid.lifting.lift
    background: bool = True  # whether background pixels are points too
    dtype: str = "float16"  # of the stored coordinates; or float32
    extras: tuple[str, ...] = ()  # names of EXTRAS to store too; raster mode only
    mask_of: MaskSource | None = None  # what foreground is, where a mask is known; else the pixels on the body

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InputError(f"--mode {self.mode}: {nearest_names(self.mode, get_args(Mode))}")
        for name in set(self.extras) - set(EXTRAS):
            raise InputError(f"extra {name!r}: {nearest_names(name, EXTRAS)}")
        if self.extras and self.mode != "raster":
            raise InputError(f"extra {', '.join(self.extras)}: only raster mode knows it, not {self.mode}")
        if self.mode == "vertex" and not self.background:
            raise InputError("vertex mode without background has as many points as the body; use raster for a store")

    @property
    def settings(self) -> dict[str, Any]:
        points = HEIGHT * WIDTH
        fields = {"xyz": Field(self.dtype, (3,)), "rgb": Field("uint8", (3,))} | {n: EXTRAS[n] for n in self.extras}
        fields = {name: replace(field, shape=(points, *field.shape)) for name, field in fields.items()}
        size = {"points": points, "height": HEIGHT, "width": WIDTH, "fields": fields}
        order = "written" if self.mode == "vertex" else "scattered"  # vertex keeps the published order
        return {"mode": self.mode, "order": order, "background": self.background, **size}

    def storing(self, extra: Sequence[str]) -> "CropClouds":
        """The same crops with these arrays, too; an InputError outside raster mode."""
        return replace(self, extras=tuple(extra))

    def cloud(self, source: str) -> dict[str, np.ndarray]:
        return self.lifted(read_crop(self.root / source), source)

    def lifted(self, image: np.ndarray, source: str) -> dict[str, np.ndarray]:
        """The cloud of a crop (128, 64, 3) uint8 that was read already."""
        try:
            mesh = self.mesh_of(source)
            if self.extras:
                lifted = lift_surface(image, mesh, background=self.background)
                points, extras = lifted.points, {name: getattr(lifted, name) for name in self.extras}
                if "foreground" in extras and self.mask_of and (mask := self.mask_of(source)) is not None:
                    extras["foreground"] = mask.ravel()
            else:
                points, extras = lift(image, mesh, mode=self.mode, background=self.background), {}
        except InputError as error:
            raise InputError(f"{self.root / source}: {error}") from error
        farthest = np.abs(points[:, :3]).max()
        if farthest > FARTHEST:
            raise InputError(f"{self.root / source}: its points lie up to {farthest:.3g} m away")
        order = slice(None) if self.mode == "vertex" else scattered(len(points))
        arrays = {"xyz": points[:, :3].astype(self.dtype), "rgb": np.rint(points[:, 3:] * 255).astype(np.uint8)}
        arrays |= {name: values.astype(EXTRAS[name].dtype) for name, values in extras.items()}
        return {name: values[order] for name, values in arrays.items()}
