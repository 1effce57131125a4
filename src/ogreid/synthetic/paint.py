"""What color a point of a dressed body has: garments, skin and hair as functions of surface coordinates.

The coordinates are the places on the mean body at rest (meters; front at negative z) and the way along the arm
(0 shoulder, 1 wrist), so a pattern sits on the same spot of every shape in every pose.
"""

from enum import IntEnum

import numpy as np
from numba import njit

__all__ = ["CLOTHS", "NUMBERS", "PATTERNS", "Cloth", "Part", "Surface", "paint", "shade"]


class Surface(IntEnum):
    """The kinds of triangles that the painter knows; things carried are ``THING`` and count upwards."""

    BODY = 0
    SKIRT = 1
    HAIR = 2
    THING = 3


class Part(IntEnum):
    """Parts of the body surface."""

    TORSO = 0
    HEAD = 1
    ARM = 2
    HAND = 3
    LEG = 4
    FOOT = 5


class Cloth(IntEnum):
    """Rows of the table of cloths; things carried have the rows from ``THING`` to ``CROWN``."""

    SKIN = 0
    HAIR = 1
    TOP = 2
    OUTER = 3
    BOTTOM = 4
    SHOES = 5
    LEGWEAR = 6
    STRAP = 7
    THING = 8
    CROWN = 13  # what covers the head: hair, or a cap, or a scarf


CLOTHS = 14

PATTERNS = (
    "plain", "stripes", "pinstripes", "check", "dots", "block", "band", "print", "side", "sleeves",
    "camouflage", "halves", "yoke",
)  # fmt: skip

# A cloth is a row of ten floats: color (3), second color (3), pattern, period, phase, strength.
# Numbers of a look that are no cloth:
NUMBERS = {
    name: index
    for index, name in enumerate(
        ("sleeve", "outer_sleeve", "opening", "top_hem", "outer_hem", "leg_hem", "shoe_top", "neckline", "vee",
         "hairline", "hair_cut", "strap", "beard", "waist", "outer", "fold")
    )
}  # fmt: skip
_SLEEVE, _OUTER_SLEEVE, _OPENING, _TOP_HEM, _OUTER_HEM, _LEG_HEM, _SHOE_TOP, _NECKLINE, _VEE = range(9)
_HAIRLINE, _HAIR_CUT, _STRAP, _BEARD, _WAIST, _OUTER, _FOLD = range(9, 16)

_NECK_Y, _NECK_Z = -0.52, -0.01
_SOLE_Y = 0.905
_FIRST_THING = int(Cloth.THING) - int(Surface.THING)
# Compiled code takes plain integers.
_C_SKIN, _C_HAIR, _C_TOP, _C_OUTER, _C_BOTTOM, _C_SHOES, _C_LEGWEAR, _C_STRAP = (int(row) for row in list(Cloth)[:8])
_C_CROWN = int(Cloth.CROWN)
_S_BODY, _S_SKIRT, _S_HAIR, _S_THING = (int(kind) for kind in Surface)
_P_TORSO, _P_HEAD, _P_ARM, _P_HAND, _P_LEG, _P_FOOT = (int(part) for part in Part)
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
def _mix(kind: int, period: float, phase: float, x: float, y: float, z: float, s: float) -> float:
    """Share of the second color in a pattern at a point of the surface."""
    around = np.arctan2(x, -z) * 0.15 if s <= 0.02 else z
    if kind == 1:
        return float(_wave(y + phase if s <= 0.02 else 0.5 * s + phase, period, 0.45))
    if kind == 2:
        return float(_wave(around + phase, period, 0.4))
    if kind == 3:
        return float(0.5 * _wave(y + phase, period, 0.4) + 0.5 * _wave(around + phase, period, 0.4))
    if kind == 4:
        row = np.floor((y + phase) / period)
        across = (around + (0.5 * period if row % 2 == 0 else 0.0)) / period
        du, dv = across - np.floor(across) - 0.5, (y + phase) / period - row - 0.5
        return 1.0 if du * du + dv * dv < 0.1 else 0.0
    if kind == 5:
        return 1.0 if y > phase else 0.0
    if kind == 6:
        return 1.0 if abs(y - phase) < 0.6 * period else 0.0
    if kind == 7:
        return 1.0 if abs(x) < 1.1 * period and abs(y - phase) < 0.9 * period and z < 0 and s <= 0.02 else 0.0
    if kind == 8:
        edge = abs(z - 0.02) < 0.035
        return 1.0 if edge and (s > 0.02 or abs(x) > 0.11) else 0.0
    if kind == 9:
        return 1.0 if s > 0.03 else 0.0
    if kind == 10:
        return 1.0 if _blotch(0.8 * x, 0.8 * y, 0.8 * z, 40.0 * phase) > 0.12 else 0.0
    if kind == 11:
        return 1.0 if x > 0 else 0.0
    if kind == 12:
        return 1.0 if y < -0.33 else 0.0
    return 0.0


@njit(cache=True, fastmath=True)
def _cloth(cloths: np.ndarray, row: int, fold: float, x: float, y: float, z: float, s: float, out: np.ndarray) -> None:
    """The color of a cloth at a point, with its folds."""
    cloth = cloths[row]
    share = cloth[9] * _mix(int(cloth[6]), cloth[7], cloth[8], x, y, z, s)
    shade = 1.0 + fold * _blotch(0.7 * x, 0.5 * y, 0.7 * z, cloth[8] * 17.0 + row)
    for c in range(3):
        out[c] = shade * ((1.0 - share) * cloth[c] + share * cloth[3 + c])


@njit(cache=True, fastmath=True)
def _head(x: float, y: float, z: float, cloths: np.ndarray, numbers: np.ndarray, out: np.ndarray) -> None:
    """Face, eyes, beard and the scalp."""
    fold = numbers[_FOLD]
    line = min(numbers[_HAIRLINE] + 0.95 * (z + 0.13), -0.595)
    if y < line:
        _cloth(cloths, _C_CROWN, fold, x, y, z, 0.0, out)
        return
    _cloth(cloths, _C_SKIN, 0.0, x, y, z, 0.0, out)
    front = z < _EYE_Z + 0.02
    if front and abs(y - _EYE_Y) < 0.010 and abs(abs(x) - _EYE_X) < 0.016:
        for c in range(3):
            out[c] *= 0.22
    elif front and abs(y + 0.632) < 0.006 and abs(x) < 0.022:
        out[0], out[1], out[2] = 0.8 * out[0], 0.5 * out[1], 0.5 * out[2]
    elif numbers[_BEARD] > 0 and y > -0.655 and y < -0.57 and z < -0.03:
        for c in range(3):
            out[c] = (1 - numbers[_BEARD]) * out[c] + numbers[_BEARD] * cloths[_C_HAIR, c]


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
def _upper(x: float, y: float, z: float, s: float, cloths: np.ndarray, numbers: np.ndarray, out: np.ndarray) -> bool:
    """Outer garment, shirt and straps; False where neither covers the point."""
    fold = numbers[_FOLD]
    if s <= 0.02 and _strapped(x, y, z, numbers[_STRAP]):
        _cloth(cloths, _C_STRAP, 0.0, x, y, z, s, out)
        return True
    down, away = y - _NECK_Y, z - _NECK_Z
    neck = np.sqrt(x * x + down * down + away * away)
    gap = numbers[_OPENING] * (1.0 + 0.6 * (y + 0.5))
    opened = z < 0 and abs(x) < gap
    if numbers[_OUTER] > 0 and s < numbers[_OUTER_SLEEVE] and y < numbers[_OUTER_HEM] and not opened and neck > 0.07:
        _cloth(cloths, _C_OUTER, fold, x, y, z, s, out)
        return True
    bare = neck < numbers[_NECKLINE] or (z < 0 and down > 0 and abs(x) < numbers[_VEE] - 0.5 * down)
    if s < numbers[_SLEEVE] and y < numbers[_TOP_HEM] and not bare:
        _cloth(cloths, _C_TOP, fold, x, y, z, s, out)
        return True
    return False


@njit(cache=True, fastmath=True)
def _lower(x: float, y: float, z: float, cloths: np.ndarray, numbers: np.ndarray, out: np.ndarray) -> None:
    """Trousers or shorts, what is below them, shoes."""
    if y > _SOLE_Y:
        _cloth(cloths, _C_SHOES, 0.0, x, y, z, 0.0, out)
        for c in range(3):
            out[c] = cloths[_C_SHOES, 3 + c]
    elif y > numbers[_SHOE_TOP]:
        _cloth(cloths, _C_SHOES, 0.0, x, y, z, 0.0, out)
    elif y < numbers[_LEG_HEM] and y > numbers[_WAIST]:
        _cloth(cloths, _C_BOTTOM, numbers[_FOLD], x, y, z, 0.0, out)
    elif y > 0:
        _cloth(cloths, _C_LEGWEAR, 0.0, x, y, z, 0.0, out)
    else:
        _cloth(cloths, _C_SKIN, 0.0, x, y, z, 0.0, out)


@njit(cache=True, fastmath=True)
def paint(
    surface: int,
    part: int,
    point: np.ndarray,
    cloths: np.ndarray,
    numbers: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the linear-light albedo (3,) of a point of the figure to ``out``.

    Args:
        surface: a ``Surface``; from ``Surface.THING`` on, the number of a thing carried.
        part: a ``Part``; of the body surface only.
        point: (4,) place on the mean body at rest and way along the arm.
        cloths: (CLOTHS, 10) table of cloths.
        numbers: the ``NUMBERS`` of a look.
        out: (3,) takes the albedo.
    """
    x, y, z, s = point[0], point[1], point[2], point[3]
    if surface >= _S_THING:
        _cloth(cloths, _FIRST_THING + surface, 0.05, x, y, z, 0.0, out)
    elif surface == _S_HAIR:
        _cloth(cloths, _C_HAIR, 0.12, x, y, z, 0.0, out)
    elif surface == _S_SKIRT:
        coat = numbers[_OUTER] > 0 and numbers[_OUTER_HEM] > 0.15
        gap = numbers[_OPENING] * (1.0 + 0.6 * (y + 0.5))
        if coat and not (z < -0.03 and abs(x) < gap):
            _cloth(cloths, _C_OUTER, numbers[_FOLD], x, y, z, 0.0, out)
        elif y < numbers[_TOP_HEM]:
            _cloth(cloths, _C_TOP, numbers[_FOLD], x, y, z, 0.0, out)
        else:
            _cloth(cloths, _C_BOTTOM, numbers[_FOLD], x, y, z, 0.0, out)
    elif part == _P_HEAD:
        _head(x, y, z, cloths, numbers, out)
    elif part == _P_HAND:
        _cloth(cloths, _C_SKIN, 0.0, x, y, z, 0.0, out)
    elif part in (_P_TORSO, _P_ARM):
        if not _upper(x, y, z, s, cloths, numbers, out):
            if part == _P_TORSO and y > numbers[_WAIST]:
                _lower(x, y, z, cloths, numbers, out)
            else:
                _cloth(cloths, _C_SKIN, 0.0, x, y, z, 0.0, out)
    elif y < max(numbers[_TOP_HEM], numbers[_OUTER_HEM]) and y < 0.2:
        if not _upper(x, y, z, 0.0, cloths, numbers, out):
            _lower(x, y, z, cloths, numbers, out)
    else:
        _lower(x, y, z, cloths, numbers, out)


@njit(cache=True, fastmath=True)
def shade(
    owner: np.ndarray,
    shares: np.ndarray,
    faces: np.ndarray,
    surface: np.ndarray,
    part: np.ndarray,
    normals: np.ndarray,
    coordinates: np.ndarray,
    cloths: np.ndarray,
    numbers: np.ndarray,
    light: np.ndarray,
    samples: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Light (H, W, 3), already weighted by its cover, and cover (H, W) of the pixels of a drawn figure.

    In this file because numba's cache of compiled code looks for changes in a function's own file only.
    """
    height, width = owner.shape[0] // samples, owner.shape[1] // samples
    picture = np.zeros((height, width, 3), dtype=np.float32)
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
            paint(surface[f], part[f], point, cloths, numbers, color)
            y, x = row // samples, column // samples
            for channel in range(3):
                falling = sun * light[1, channel] + up * light[2, channel] + (one - up) * light[3, channel]
                picture[y, x, channel] += share * color[channel] * falling
            cover[y, x] += share
    return picture, cover
