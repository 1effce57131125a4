"""What color a point of a dressed body has: garments, skin and hair as functions of surface coordinates.

The coordinates are the places on the mean body at rest (meters; front at negative z) and the way along the arm
(0 shoulder, 1 wrist), so a pattern sits on the same spot of every shape in every pose.
"""

from enum import IntEnum

import numpy as np
from numba import njit

__all__ = ["Cloth", "Part", "Pattern", "Surface", "Trait", "paint", "shade"]

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

Arrays = tuple[np.ndarray, ...]

_NECK_Y, _NECK_Z = -0.52, -0.01
_SOLE_Y = 0.905
_FIRST_PROP = int(Cloth.PROP) - int(Surface.PROP)
_EYE_Y, _EYE_X, _EYE_Z = -0.700, 0.033, -0.115


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
    if pattern == Pattern.BLOCK:
        return 1.0 if y > phase else 0.0
    if pattern == Pattern.BAND:
        return 1.0 if abs(y - phase) < 0.6 * period else 0.0
    if pattern == Pattern.PRINT:
        return 1.0 if abs(x) < 1.1 * period and abs(y - phase) < 0.9 * period and z < 0 and s <= 0.02 else 0.0
    if pattern == Pattern.SIDE:
        return 1.0 if abs(z - 0.02) < 0.035 and (s > 0.02 or abs(x) > 0.11) else 0.0
    if pattern == Pattern.SLEEVES:
        return 1.0 if s > 0.03 else 0.0
    if pattern == Pattern.CAMOUFLAGE:
        return 1.0 if _blotch(0.8 * x, 0.8 * y, 0.8 * z, 40.0 * phase) > 0.12 else 0.0
    if pattern == Pattern.HALVES:
        return 1.0 if x > 0 else 0.0
    if pattern == Pattern.YOKE:
        return 1.0 if y < -0.33 else 0.0
    return 0.0


@njit(cache=True, fastmath=True)
def _cloth(cloths: np.ndarray, row: int, fold: float, x: float, y: float, z: float, s: float, out: np.ndarray) -> None:
    """The color of a cloth at a point, with its folds."""
    cloth = cloths[row]
    share = cloth[9] * _second_share(int(cloth[6]), cloth[7], cloth[8], x, y, z, s)
    shade = 1.0 + fold * _blotch(0.7 * x, 0.5 * y, 0.7 * z, cloth[8] * 17.0 + row)
    for c in range(3):
        out[c] = shade * ((1.0 - share) * cloth[c] + share * cloth[3 + c])


@njit(cache=True, fastmath=True)
def _head(x: float, y: float, z: float, cloths: np.ndarray, traits: np.ndarray, out: np.ndarray) -> None:
    """Face, eyes, beard and the scalp."""
    if y < min(traits[Trait.HAIRLINE] + 0.95 * (z + 0.13), -0.595):
        _cloth(cloths, Cloth.CROWN.value, traits[Trait.FOLD], x, y, z, 0.0, out)
        return
    _cloth(cloths, Cloth.SKIN.value, 0.0, x, y, z, 0.0, out)
    front, beard = z < _EYE_Z + 0.02, traits[Trait.BEARD]
    if front and abs(y - _EYE_Y) < 0.010 and abs(abs(x) - _EYE_X) < 0.016:
        out *= 0.22
    elif front and abs(y + 0.632) < 0.006 and abs(x) < 0.022:
        out[0], out[1], out[2] = 0.8 * out[0], 0.5 * out[1], 0.5 * out[2]
    elif beard > 0 and y > -0.655 and y < -0.57 and z < -0.03:
        out[:] = (1 - beard) * out + beard * cloths[Cloth.HAIR, :3]


@njit(cache=True, fastmath=True)
def _strapped(x: float, y: float, z: float, kind: float) -> bool:
    """Whether a strap lies here: 1 two shoulder straps, 2 and 3 one strap across the chest."""
    if kind == 1:
        return z < 0.03 and abs(abs(x) - 0.105) < 0.022 and -0.50 < y < -0.16
    if kind >= 2:
        side = 1.0 if kind == 2 else -1.0
        return abs(side * x * 1.25 + (y + 0.22)) < 0.035 and y < 0.06
    return False


@njit(cache=True, fastmath=True)
def _upper(x: float, y: float, z: float, s: float, cloths: np.ndarray, traits: np.ndarray, out: np.ndarray) -> bool:
    """Outer garment, shirt and straps; False where neither covers the point."""
    fold = traits[Trait.FOLD]
    if s <= 0.02 and _strapped(x, y, z, traits[Trait.STRAP]):
        _cloth(cloths, Cloth.STRAP.value, 0.0, x, y, z, s, out)
        return True
    down, away = y - _NECK_Y, z - _NECK_Z
    neck = np.sqrt(x * x + down * down + away * away)
    opened = z < 0 and abs(x) < traits[Trait.OPENING] * (1.0 + 0.6 * (y + 0.5))
    covered = traits[Trait.OUTER] > 0 and s < traits[Trait.OUTER_SLEEVE] and y < traits[Trait.OUTER_HEM]
    if covered and not opened and neck > 0.07:
        _cloth(cloths, Cloth.OUTER.value, fold, x, y, z, s, out)
        return True
    bare = neck < traits[Trait.NECKLINE] or (z < 0 and down > 0 and abs(x) < traits[Trait.VEE] - 0.5 * down)
    if s < traits[Trait.SLEEVE] and y < traits[Trait.TOP_HEM] and not bare:
        _cloth(cloths, Cloth.TOP.value, fold, x, y, z, s, out)
        return True
    return False


@njit(cache=True, fastmath=True)
def _lower(x: float, y: float, z: float, cloths: np.ndarray, traits: np.ndarray, out: np.ndarray) -> None:
    """Trousers or shorts, what is below them, shoes."""
    if y > _SOLE_Y:
        out[:] = cloths[Cloth.SHOES, 3:6]
    elif y > traits[Trait.SHOE_TOP]:
        _cloth(cloths, Cloth.SHOES.value, 0.0, x, y, z, 0.0, out)
    elif y < traits[Trait.LEG_HEM] and y > traits[Trait.WAIST]:
        _cloth(cloths, Cloth.BOTTOM.value, traits[Trait.FOLD], x, y, z, 0.0, out)
    else:
        _cloth(cloths, Cloth.LEGWEAR.value if y > 0 else Cloth.SKIN.value, 0.0, x, y, z, 0.0, out)


@njit(cache=True, fastmath=True)
def _skirt(x: float, y: float, z: float, cloths: np.ndarray, traits: np.ndarray, out: np.ndarray) -> None:
    """Skirt, dress or the lower part of a coat."""
    coat = traits[Trait.OUTER] > 0 and traits[Trait.OUTER_HEM] > 0.15
    if coat and not (z < -0.03 and abs(x) < traits[Trait.OPENING] * (1.0 + 0.6 * (y + 0.5))):
        row = Cloth.OUTER.value
    else:
        row = Cloth.TOP.value if y < traits[Trait.TOP_HEM] else Cloth.BOTTOM.value
    _cloth(cloths, row, traits[Trait.FOLD], x, y, z, 0.0, out)


@njit(cache=True, fastmath=True)
def paint(surface: int, part: int, point: np.ndarray, cloths: np.ndarray, traits: np.ndarray, out: np.ndarray) -> None:
    """Write the linear-light albedo (3,) of a point of a person to ``out``.

    Args:
        surface: a ``Surface``; from ``Surface.PROP`` on, the number of a prop.
        part: a ``Part``; of the body surface only.
        point: (4,) place on the mean body at rest and way along the arm.
        cloths: (len(Cloth), 10) table of cloths.
        traits: (len(Trait),) other numbers of the look.
        out: (3,) takes the albedo.
    """
    x, y, z, s = point[0], point[1], point[2], point[3]
    if surface >= Surface.PROP:
        _cloth(cloths, _FIRST_PROP + surface, 0.05, x, y, z, 0.0, out)
    elif surface == Surface.HAIR:
        _cloth(cloths, Cloth.HAIR.value, 0.12, x, y, z, 0.0, out)
    elif surface == Surface.SKIRT:
        _skirt(x, y, z, cloths, traits, out)
    elif part == Part.HEAD:
        _head(x, y, z, cloths, traits, out)
    elif part == Part.HAND:
        _cloth(cloths, Cloth.SKIN.value, 0.0, x, y, z, 0.0, out)
    elif part in (Part.TORSO, Part.ARM):
        if not _upper(x, y, z, s, cloths, traits, out):
            if part == Part.TORSO and y > traits[Trait.WAIST]:
                _lower(x, y, z, cloths, traits, out)
            else:
                _cloth(cloths, Cloth.SKIN.value, 0.0, x, y, z, 0.0, out)
    else:
        upper = y < max(traits[Trait.TOP_HEM], traits[Trait.OUTER_HEM]) and y < 0.2
        if not (upper and _upper(x, y, z, 0.0, cloths, traits, out)):
            _lower(x, y, z, cloths, traits, out)


@njit(cache=True, fastmath=True)
def shade(
    owner: np.ndarray, shares: np.ndarray, mesh: Arrays, look: Arrays, light: np.ndarray, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Light (H, W, 3), already weighted by its cover, and cover (H, W) of the pixels of a drawn person.

    In this file because numba's cache of compiled code looks for changes in a function's own file only.
    """
    (faces, surface, part, normals, coordinates), (cloths, traits) = mesh, look
    height, width = owner.shape[0] // samples, owner.shape[1] // samples
    image = np.zeros((height, width, 3), dtype=np.float32)
    cover = np.zeros((height, width), dtype=np.float32)
    color = np.zeros(3, dtype=np.float32)
    point = np.zeros(4, dtype=np.float32)
    normal = np.zeros(3, dtype=np.float32)
    share = np.float32(1.0 / (samples * samples))
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
            y, x = row // samples, column // samples
            for channel in range(3):
                falling = sun * light[1, channel] + up * light[2, channel] + (one - up) * light[3, channel]
                image[y, x, channel] += share * color[channel] * falling
            cover[y, x] += share
    return image, cover
