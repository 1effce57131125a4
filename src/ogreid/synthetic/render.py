"""Triangles to a small image: a z-buffer with four samples a pixel, paint, diffuse light from a sun and a sky.

The color of garments, skin and hair is a function of surface coordinates: the place on the mean body at rest (meters;
front at negative z) and the way along the arm (0 shoulder, 1 wrist), so a pattern sits on the same spot of every shape
in every pose. All kernels are in one file because numba's cache looks for changes in a function's own file only.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from ogreid.synthetic.body import Array

if TYPE_CHECKING:
    from ogreid.synthetic.clothing import Person

# Kinds of triangles; the props are numbered from PROP on. Parts of the body surface. Patterns of a cloth.
Surface = IntEnum("Surface", "BODY SKIRT HAIR PROP", start=0)
Part = IntEnum("Part", "TORSO HEAD ARM HAND LEG FOOT", start=0)
Pattern = IntEnum(
    "Pattern", "PLAIN STRIPES PINSTRIPES CHECK DOTS BLOCK BAND PRINT SIDE SLEEVES CAMOUFLAGE HALVES YOKE", start=0
)
# Rows of the table of cloths, the last covers the head: hair, cap or scarf. A row is ten floats: color (3), second
# color (3), ``Pattern``, period, phase, strength.
Cloth = IntEnum(
    "Cloth", "SKIN HAIR TOP OUTER BOTTOM SHOES LEGWEAR STRAP PROP PROP_2 PROP_3 PROP_4 PROP_5 CROWN", start=0
)
# Numbers of a look beside its cloths: lengths and hems in surface coordinates, strengths, kinds.
Trait = IntEnum(
    "Trait",
    "SLEEVE OUTER_SLEEVE OPENING TOP_HEM OUTER_HEM LEG_HEM SHOE_TOP NECKLINE VEE HAIRLINE HAIR_CUT STRAP BEARD WAIST "
    "OUTER FOLD",
    start=0,
)

_SAMPLES = 2  # per side of a pixel
_NECK_Y, _NECK_Z = -0.52, -0.01
_SOLE_Y = 0.905
_FIRST_PROP = int(Cloth.PROP) - int(Surface.PROP)
_EYE_Y, _EYE_X, _EYE_Z = -0.700, 0.033, -0.115


@dataclass(frozen=True)
class Light:
    """Where light comes from, in the axes of the camera; colors are linear."""

    towards: Array  # (3,) unit vector towards the sun
    sun: Array  # (3,) color
    sky: Array  # (3,) color of what comes from above
    ground: Array  # (3,) color of what comes from below
    up: Array  # (3,) unit vector


@njit(cache=True, fastmath=True)
def _wave(value: float, period: float, share: float) -> float:
    """1 within ``share`` of each period, else 0."""
    turns = value / period
    return 1.0 if turns - np.floor(turns) < share else 0.0


@njit(cache=True, fastmath=True)
def _blotch(x: float, y: float, z: float, phase: float) -> float:
    """Smooth blotches in [-1, 1]: a few incommensurate waves, cheap enough for every pixel."""
    a = np.sin(31.0 * x + 17.0 * z + phase) * np.sin(27.0 * y - 11.0 * x + 2.3 * phase)
    b = np.sin(53.0 * y + 29.0 * z - 1.7 * phase) * np.sin(47.0 * x + 23.0 * y + 0.6 * phase)
    return float(0.6 * a + 0.4 * b)


@njit(cache=True, fastmath=True)
def _second_share(pattern: int, period: float, phase: float, x: float, y: float, z: float, s: float) -> float:
    """Share of the second color in a pattern at a point of the surface."""
    around = np.arctan2(x, -z) * 0.15 if s <= 0.02 else z
    if pattern == Pattern.STRIPES:
        return float(_wave(y + phase if s <= 0.02 else 0.5 * s + phase, period, 0.45))
    if pattern == Pattern.PINSTRIPES:
        return float(_wave(around + phase, period, 0.4))
    if pattern == Pattern.CHECK:
        return float(0.5 * _wave(y + phase, period, 0.4) + 0.5 * _wave(around + phase, period, 0.4))
    if pattern == Pattern.DOTS:
        row = np.floor((y + phase) / period)
        across = (around + (0.5 * period if row % 2 == 0 else 0.0)) / period
        du, dv = across - np.floor(across) - 0.5, (y + phase) / period - row - 0.5
        return 1.0 if du * du + dv * dv < 0.1 else 0.0
    front = z < 0 and s <= 0.02
    inside = (
        (pattern == Pattern.BLOCK and y > phase)
        or (pattern == Pattern.BAND and abs(y - phase) < 0.6 * period)
        or (pattern == Pattern.PRINT and front and abs(x) < 1.1 * period and abs(y - phase) < 0.9 * period)
        or (pattern == Pattern.SIDE and abs(z - 0.02) < 0.035 and (s > 0.02 or abs(x) > 0.11))
        or (pattern == Pattern.SLEEVES and s > 0.03)
        or (pattern == Pattern.CAMOUFLAGE and _blotch(0.8 * x, 0.8 * y, 0.8 * z, 40.0 * phase) > 0.12)
        or (pattern == Pattern.HALVES and x > 0)
        or (pattern == Pattern.YOKE and y < -0.33)
    )
    return 1.0 if inside else 0.0


@njit(cache=True, fastmath=True)
def _draw_face(x: float, y: float, z: float, beard: float, hair: np.ndarray, out: np.ndarray) -> None:
    front = z < _EYE_Z + 0.02
    if front and abs(y - _EYE_Y) < 0.010 and abs(abs(x) - _EYE_X) < 0.016:
        out *= 0.22
    elif front and abs(y + 0.632) < 0.006 and abs(x) < 0.022:
        out[0], out[1], out[2] = 0.8 * out[0], 0.5 * out[1], 0.5 * out[2]
    elif beard > 0 and y > -0.655 and y < -0.57 and z < -0.03:
        out[:] = (1 - beard) * out + beard * hair


@njit(cache=True, fastmath=True)
def _strapped(x: float, y: float, z: float, kind: float) -> bool:
    """Whether a strap lies here: 1 two shoulder straps, 2 and 3 one strap across the chest."""
    if kind == 1:
        return z < 0.03 and abs(abs(x) - 0.105) < 0.022 and -0.50 < y < -0.16
    side = 1.0 if kind == 2 else -1.0
    return kind >= 2 and abs(side * x * 1.25 + (y + 0.22)) < 0.035 and y < 0.06


@njit(cache=True, fastmath=True)
def _upper(x: float, y: float, z: float, s: float, opened: bool, traits: np.ndarray) -> int:
    """The row of the strap, outer garment or top that covers a point; -1 where none does."""
    if s <= 0.02 and _strapped(x, y, z, traits[Trait.STRAP]):
        return Cloth.STRAP.value
    down, away = y - _NECK_Y, z - _NECK_Z
    neck = np.sqrt(x * x + down * down + away * away)
    covered = traits[Trait.OUTER] > 0 and s < traits[Trait.OUTER_SLEEVE] and y < traits[Trait.OUTER_HEM]
    if covered and not (z < 0 and opened) and neck > 0.07:
        return Cloth.OUTER.value
    bare = neck < traits[Trait.NECKLINE] or (z < 0 and down > 0 and abs(x) < traits[Trait.VEE] - 0.5 * down)
    return Cloth.TOP.value if s < traits[Trait.SLEEVE] and y < traits[Trait.TOP_HEM] and not bare else -1


@njit(cache=True, fastmath=True)
def _lower(y: float, traits: np.ndarray) -> int:
    """The row of shoes, trousers or shorts, or what is below them."""
    if y > traits[Trait.SHOE_TOP]:
        return Cloth.SHOES.value
    if y < traits[Trait.LEG_HEM] and y > traits[Trait.WAIST]:
        return Cloth.BOTTOM.value
    return Cloth.LEGWEAR.value if y > 0 else Cloth.SKIN.value


@njit(cache=True, fastmath=True)
def _cloth_row(surface: int, part: int, x: float, y: float, z: float, s: float, traits: np.ndarray) -> int:
    """The row in the table of cloths of what covers a point."""
    if surface >= Surface.PROP:
        return _FIRST_PROP + surface
    if surface == Surface.HAIR:
        return Cloth.HAIR.value
    opened = abs(x) < traits[Trait.OPENING] * (1.0 + 0.6 * (y + 0.5))
    if surface == Surface.SKIRT:  # or dress, or the lower part of a coat
        coat = traits[Trait.OUTER] > 0 and traits[Trait.OUTER_HEM] > 0.15
        if coat and not (z < -0.03 and opened):
            return Cloth.OUTER.value
        return Cloth.TOP.value if y < traits[Trait.TOP_HEM] else Cloth.BOTTOM.value
    if part == Part.HEAD:
        return Cloth.CROWN.value if y < min(traits[Trait.HAIRLINE] + 0.95 * (z + 0.13), -0.595) else Cloth.SKIN.value
    if part == Part.HAND:
        return Cloth.SKIN.value
    leg = part in (Part.LEG, Part.FOOT)
    below = leg and (y >= max(traits[Trait.TOP_HEM], traits[Trait.OUTER_HEM]) or y >= 0.2)
    row = -1 if below else int(_upper(x, y, z, s, opened, traits))
    if row < 0:
        row = int(_lower(y, traits)) if leg or (part == Part.TORSO and y > traits[Trait.WAIST]) else Cloth.SKIN.value
    return row


@njit(cache=True, fastmath=True)
def paint(surface: int, part: int, point: np.ndarray, cloths: np.ndarray, traits: np.ndarray, out: np.ndarray) -> None:
    """Write the linear-light albedo of a point (4,), in surface coordinates, of a person to ``out`` (3,).

    ``surface`` is a ``Surface``, from ``PROP`` on the number of a prop; ``part`` a ``Part``, of the body surface only;
    ``cloths`` the (len(Cloth), 10) table of cloths, ``traits`` (len(Trait),) the other numbers of the look.
    """
    x, y, z = point[0], point[1], point[2]
    body = surface == Surface.BODY
    s = point[3] if body and part in (Part.TORSO, Part.ARM) else np.float32(0)
    row = _cloth_row(surface, part, x, y, z, s, traits)
    if body and row == Cloth.SHOES and y > _SOLE_Y:
        out[:] = cloths[row, 3:6]
        return
    if body or surface == Surface.SKIRT:
        fold = traits[Trait.FOLD] if row in (Cloth.TOP, Cloth.OUTER, Cloth.BOTTOM, Cloth.CROWN) else 0.0
    else:
        fold = 0.12 if surface == Surface.HAIR else 0.05
    cloth = cloths[row]
    share = cloth[9] * _second_share(int(cloth[6]), cloth[7], cloth[8], x, y, z, s)
    shade = 1.0 + fold * _blotch(0.7 * x, 0.5 * y, 0.7 * z, cloth[8] * 17.0 + row)
    for c in range(3):
        out[c] = shade * ((1.0 - share) * cloth[c] + share * cloth[3 + c])
    if body and part == Part.HEAD and row == Cloth.SKIN:
        _draw_face(x, y, z, traits[Trait.BEARD], cloths[Cloth.HAIR, :3], out)


@njit(cache=True, fastmath=True)
def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (V, 3)."""
    normals = np.zeros_like(vertices)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        ax, ay, az = vertices[j, 0] - x, vertices[j, 1] - y, vertices[j, 2] - z
        bx, by, bz = vertices[k, 0] - x, vertices[k, 1] - y, vertices[k, 2] - z
        cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            normals[v, 0] += cx
            normals[v, 1] += cy
            normals[v, 2] += cz
    for v in range(len(normals)):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        for axis in range(3):
            normals[v, axis] /= max(length, np.float32(1e-12))
    return normals


@njit(cache=True)
def _visible(
    pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which triangle each sample sees (-1 none) and the shares of its second and third corner."""
    nearest = np.full((height, width), np.inf, dtype=np.float32)
    owner = np.full((height, width), -1, dtype=np.int32)
    shares = np.zeros((height, width, 2), dtype=np.float32)
    half = np.float32(0.5)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        # In samples whose centers are whole numbers.
        x0, y0 = pixels[i, 0] - half, pixels[i, 1] - half
        xj, yj, xk, yk = pixels[j, 0] - half, pixels[j, 1] - half, pixels[k, 0] - half, pixels[k, 1] - half
        left, right = max(np.ceil(min(x0, xj, xk)), 0), min(np.floor(max(x0, xj, xk)), width - 1)
        top, bottom = max(np.ceil(min(y0, yj, yk)), 0), min(np.floor(max(y0, yj, yk)), height - 1)
        if left > right or top > bottom:
            continue  # most triangles are smaller than a sample and miss its center
        x1, y1, x2, y2 = xj - x0, yj - y0, xk - x0, yk - y0
        area = x1 * y2 - x2 * y1
        if abs(area) < 1e-9:
            continue
        z0, z1, z2 = depth[i], depth[j] - depth[i], depth[k] - depth[i]
        for row in range(int(top), int(bottom) + 1):
            dy = np.float32(row) - y0
            for column in range(int(left), int(right) + 1):
                dx = np.float32(column) - x0
                b = (dx * y2 - x2 * dy) / area
                c = (x1 * dy - dx * y1) / area
                if b < 0 or c < 0 or b + c > 1:
                    continue
                z = z0 + b * z1 + c * z2
                if z < nearest[row, column]:
                    nearest[row, column] = z
                    owner[row, column] = f
                    shares[row, column, 0] = b
                    shares[row, column, 1] = c
    return owner, shares


@njit(cache=True, fastmath=True)
def _shaded(
    owner: np.ndarray, shares: np.ndarray, mesh: tuple[np.ndarray, ...], look: tuple[np.ndarray, ...], light: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Light (H, W, 3), already weighted by its cover, and cover (H, W) of the pixels of a drawn person."""
    (faces, surface, part, normals, coordinates), (cloths, traits) = mesh, look
    height, width = owner.shape[0] // _SAMPLES, owner.shape[1] // _SAMPLES
    image = np.zeros((height, width, 3), dtype=np.float32)
    cover = np.zeros((height, width), dtype=np.float32)
    color = np.zeros(3, dtype=np.float32)
    point = np.zeros(4, dtype=np.float32)
    normal = np.zeros(3, dtype=np.float32)
    share = np.float32(1.0 / (_SAMPLES * _SAMPLES))
    one, half = np.float32(1), np.float32(0.5)
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            f = owner[row, column]
            if f < 0:
                continue
            b, c = shares[row, column, 0], shares[row, column, 1]
            a = one - b - c
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            for axis in range(4):
                point[axis] = a * coordinates[i, axis] + b * coordinates[j, axis] + c * coordinates[k, axis]
            for axis in range(3):
                normal[axis] = a * normals[i, axis] + b * normals[j, axis] + c * normals[k, axis]
            length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2) + np.float32(1e-9)
            # Cloth is seen from both sides: a normal always looks towards the camera.
            turn = (one if normal[2] < 0 else -one) / length
            sun = (normal[0] * light[0, 0] + normal[1] * light[0, 1] + normal[2] * light[0, 2]) * turn
            up = (normal[0] * light[4, 0] + normal[1] * light[4, 1] + normal[2] * light[4, 2]) * turn
            sun, up = max(sun, np.float32(0)), half + half * up
            paint(surface[f], part[f], point, cloths, traits, color)
            y, x = row // _SAMPLES, column // _SAMPLES
            for channel in range(3):
                falling = sun * light[1, channel] + up * light[2, channel] + (one - up) * light[3, channel]
                image[y, x, channel] += share * color[channel] * falling
            cover[y, x] += share
    return image, cover


def render_person(
    person: "Person", vertices: Array, pixels: Array, light: Light, height: int, width: int
) -> tuple[Array, Array]:
    """Linear light (H, W, 3) of a person, weighted by its cover, and the cover (H, W) in [0, 1].

    The vertices (V, 3) are in the axes of the camera, in meters, and lie at ``pixels`` (V, 2), column and row.
    """
    owner, shares = _visible(pixels * _SAMPLES, vertices[:, 2], person.faces, height * _SAMPLES, width * _SAMPLES)
    falling = np.stack([light.towards, light.sun, light.sky, light.ground, light.up]).astype(np.float32)
    mesh = (person.faces, person.surface, person.part, _normals(vertices, person.faces), person.coordinates)
    image, cover = _shaded(owner, shares, mesh, (person.attributes.cloths, person.attributes.traits), falling)
    return image, cover
