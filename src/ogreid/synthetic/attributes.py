"""Who somebody is: body shape, skin, hair, garments with their colors and patterns, shoes, things carried."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ogreid.synthetic.body import Array, Body
from ogreid.synthetic.gait import Manner, draw_manner
from ogreid.synthetic.paint import CLOTHS, NUMBERS, PATTERNS, Cloth

__all__ = ["STYLES", "Style", "Wardrobe", "draw_wardrobe", "linear"]

# Everyday colors of cloth, sRGB; the first eight are what most people wear in winter.
COLORS = (
    "17181c", "2b2d33", "1d2740", "4a4c50", "3b3029", "77797d", "26382c", "4c1f26",
    "c9c6bf", "f0efec", "e6dcc4", "b8a37e", "8a6a45", "a32a2e", "d8432f", "e88a2c",
    "eec846", "8fae3f", "2f7d4b", "1f8a8c", "5aa7d8", "2b5fb3", "34449c", "6a3f9a",
    "b0559f", "e59ab8", "8e2f55", "5e6d7a",
)  # fmt: skip
DARK = 8
SKINS = ("f1c9ab", "e6b592", "d9a27a", "c08457", "a06a43", "7a4a2e", "5a3524")
HAIRS = ("15120f", "2a1d15", "3f2a1c", "5c3d26", "83603a", "b08d57", "8f8b86", "c9c5be", "6e2a18")
LEATHERS = ("15151a", "2a2320", "4b3324", "7a5a3a", "e9e7e2", "8d8f94", "a32a2e", "2b5fb3", "2f7d4b")

SHORTEST, TALLEST = 1.45, 2.0


@dataclass(frozen=True)
class Style:
    """How the people of a place dress: shares in [0, 1] of those who do.

    Attributes:
        dark: garments in one of the dark colors.
        outer: a jacket or coat over the top.
        long: sleeves and trousers of full length.
        pattern: garments with a pattern.
        skirt: skirts and dresses.
        hat: something on the head.
        pack: a backpack; ``bag`` a bag on one shoulder; ``carried`` something in a hand.
    """

    dark: float
    outer: float
    long: float
    pattern: float
    skirt: float
    hat: float
    pack: float
    bag: float
    carried: float


STYLES = {
    "summer": Style(0.32, 0.12, 0.3, 0.5, 0.24, 0.1, 0.24, 0.26, 0.18),
    "cold": Style(0.72, 0.75, 0.97, 0.28, 0.08, 0.3, 0.34, 0.2, 0.16),
    "commuter": Style(0.48, 0.45, 0.7, 0.36, 0.18, 0.14, 0.3, 0.28, 0.26),
    "campus": Style(0.42, 0.3, 0.6, 0.45, 0.14, 0.1, 0.5, 0.18, 0.14),
}


@dataclass(frozen=True)
class Wardrobe:
    """One person as dressed on one day.

    Attributes:
        shape: (S,) scores of the body.
        cloths: (CLOTHS, 10) table for the painter, colors in linear light.
        numbers: the painter's ``NUMBERS``.
        hair: "shaved", "short", "crop", "bob", "long", "tail" or "bun".
        headgear: "", "beanie", "cap", "hood" or "scarf".
        skirt_hem: how far down the skirt or coat surface reaches, in rest coordinates; 0 for none.
        loose: thickness in meters of cloth over (torso, arms, thighs, shins).
        things: kinds of things carried, in the order of their cloths.
        manner: the way of walking.
    """

    shape: Array
    cloths: Array
    numbers: Array
    hair: str
    headgear: str
    skirt_hem: float
    loose: tuple[float, float, float, float]
    things: tuple[str, ...]
    manner: Manner


def linear(color: str | Array) -> Array:
    """Linear light of an sRGB color in hexadecimal, or of sRGB values in [0, 1] (IEC 61966-2-1)."""
    if isinstance(color, str):
        color = np.array([int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    bent = ((np.asarray(color) + 0.055) / 1.055) ** 2.4
    return np.asarray(np.where(np.asarray(color) <= 0.04045, np.asarray(color) / 12.92, bent), dtype=np.float32)


def _pick(rng: np.random.Generator, choices: Sequence[str], shares: Sequence[float] | None = None) -> str:
    weights = None if shares is None else np.asarray(shares) / np.sum(shares)
    return str(choices[int(rng.choice(len(choices), p=weights))])


def _dye(rng: np.random.Generator, color: str, spread: float = 0.16) -> Array:
    """A color as dyed: a little lighter or darker, a little off in hue."""
    dyed = linear(color) * np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, spread / 3, 3))
    return np.asarray(np.clip(dyed, 0.006, 0.9), dtype=np.float32)


def _garment_color(rng: np.random.Generator, dark: float) -> Array:
    pool = COLORS[:DARK] if rng.uniform() < dark else COLORS[DARK - 3 :]
    return _dye(rng, _pick(rng, pool))


def _contrast(rng: np.random.Generator, first: Array) -> Array:
    """A second color that is told apart from the first: the farthest of four in perceived lightness and hue."""
    others = [_dye(rng, _pick(rng, COLORS)) for _ in range(4)]
    return max(others, key=lambda other: float(np.abs(np.cbrt(other) - np.cbrt(first)).sum()))


# How a pattern is scaled and placed: low and high period, low and high phase.
_PLACING = {
    "plain": (0.1, 0.1, 0, 1),
    "stripes": (0.07, 0.16, 0, 0.2),
    "pinstripes": (0.07, 0.14, 0, 0.2),
    "check": (0.08, 0.17, 0, 0.2),
    "dots": (0.09, 0.14, 0, 0.2),
    "block": (0.1, 0.1, -0.32, -0.08),
    "band": (0.06, 0.12, -0.32, -0.15),
    "print": (0.05, 0.09, -0.31, -0.2),
    "side": (0.1, 0.1, 0, 1),
    "sleeves": (0.1, 0.1, 0, 1),
    "camouflage": (0.1, 0.1, 0, 1),
    "halves": (0.1, 0.1, 0, 1),
    "yoke": (0.1, 0.1, 0, 1),
}
_ON_TOPS = ("stripes", "pinstripes", "check", "dots", "block", "band", "print", "sleeves", "yoke", "halves")
_ON_TOPS_SHARES = (5, 2, 4, 2, 3, 3, 4, 3, 2, 0.6)
_ON_OUTERS = ("check", "block", "band", "print", "side", "sleeves", "yoke", "camouflage")
_ON_BOTTOMS = ("side", "check", "pinstripes", "camouflage", "stripes", "dots")
_ON_BOTTOMS_SHARES = (5, 2, 1, 1, 1, 1)


def _cloth(rng: np.random.Generator, color: Array, pattern: str) -> Array:
    """One row of the table of cloths."""
    low, high, start, end = _PLACING[pattern]
    placing = (PATTERNS.index(pattern), rng.uniform(low, high), rng.uniform(start, end), rng.uniform(0.8, 1.0))
    return np.concatenate([color, _contrast(rng, color), placing]).astype(np.float32)


def _patterned(
    rng: np.random.Generator, share: float, kinds: Sequence[str], shares: Sequence[float] | None = None
) -> str:
    return _pick(rng, kinds, shares) if rng.uniform() < share else "plain"


def _draw_shape(body: Body, rng: np.random.Generator) -> Array:
    """Near one of the example adults; drawn again outside ordinary heights."""
    while True:
        example = body.example_scores[rng.integers(len(body.example_scores))]
        shape = example + rng.normal(0, 0.2, body.shape_count).astype(np.float32)
        if SHORTEST <= body.height(shape) <= TALLEST:
            return np.asarray(shape)


def _draw_hair(rng: np.random.Generator, feminine: bool, numbers: Array) -> str:
    """Style of the hair; writes hairline, cut and beard."""
    if feminine:
        hair = _pick(rng, ("short", "bob", "long", "tail", "bun"), (1, 3, 4, 3, 1.5))
    else:
        hair = _pick(rng, ("shaved", "crop", "short", "bob", "tail"), (1.2, 4, 4, 0.6, 0.4))
        numbers[NUMBERS["beard"]] = rng.choice([0, 0, 0, 0.5, 0.9])
    numbers[NUMBERS["hairline"]] = rng.uniform(-0.765, -0.74) if hair != "shaved" else -0.775
    numbers[NUMBERS["hair_cut"]] = {"bob": rng.uniform(-0.62, -0.55), "long": rng.uniform(-0.48, -0.28)}.get(hair, 0)
    return hair


def _draw_things(rng: np.random.Generator, style: Style, numbers: Array) -> tuple[tuple[str, ...], int]:
    """Things carried and the arm they load; writes the straps."""
    things, load = [], 0
    if rng.uniform() < style.pack:
        things.append("pack")
        numbers[NUMBERS["strap"]] = 1
    elif rng.uniform() < style.bag / (1 - style.pack):
        side = _pick(rng, ("L", "R"))
        things.append(f"{_pick(rng, ('satchel', 'tote'))}.{side}")
        numbers[NUMBERS["strap"]] = 2 if side == "L" else 3
    if rng.uniform() < style.carried:
        side = _pick(rng, ("L", "R"))
        things.append(f"{_pick(rng, ('shopper', 'case', 'handbag'))}.{side}")
        load = 1 if side == "L" else -1
    return tuple(things), load


def draw_wardrobe(body: Body, style: Style, rng: np.random.Generator) -> Wardrobe:
    """A random person in the style of a place."""
    numbers = np.zeros(len(NUMBERS), dtype=np.float32)
    feminine = bool(rng.uniform() < 0.5)
    hair = _draw_hair(rng, feminine, numbers)
    things, load = _draw_things(rng, style, numbers)
    headgear = ""
    if rng.uniform() < style.hat:
        headgear = _pick(rng, ("beanie", "cap", "hood", "scarf"), (3, 3, 2, 1 if feminine else 0))
    outer = bool(rng.uniform() < style.outer)
    hem = _draw_cut(rng, style, numbers, feminine=feminine, outer=outer)
    cloths = _draw_cloths(rng, style, headgear=bool(headgear), skirt=hem > 0 and not outer, loaded=bool(things))
    loose = (
        rng.uniform(0.004, 0.014) + (rng.uniform(0.006, 0.02) if outer else 0),
        rng.uniform(0.004, 0.014) + (rng.uniform(0.004, 0.012) if outer else 0),
        rng.uniform(0.004, 0.02),
        rng.uniform(0.004, 0.04),
    )
    shape = _draw_shape(body, rng)
    return Wardrobe(shape, cloths, numbers, hair, headgear, hem, loose, things, draw_manner(rng, load))


def _draw_cloths(rng: np.random.Generator, style: Style, *, headgear: bool, skirt: bool, loaded: bool) -> Array:
    """The table of cloths (CLOTHS, 10)."""
    cloths = np.zeros((CLOTHS, 10), dtype=np.float32)
    cloths[Cloth.SKIN] = _cloth(rng, _dye(rng, _pick(rng, SKINS, (3, 4, 4, 3, 2, 2, 1)), 0.08), "plain")
    hair = _dye(rng, _pick(rng, HAIRS, (6, 5, 4, 3, 2, 1.5, 1, 1, 1)), 0.1)
    crown = _cloth(rng, _garment_color(rng, 0.4) if headgear else hair, "plain")
    tops = _garment_color(rng, style.dark), _patterned(rng, style.pattern, _ON_TOPS, _ON_TOPS_SHARES)
    cloths[Cloth.TOP] = _cloth(rng, *tops)
    cloths[Cloth.OUTER] = _cloth(rng, _garment_color(rng, style.dark), _patterned(rng, style.pattern, _ON_OUTERS))
    bottoms = _patterned(rng, 0.6 * style.pattern, _ON_BOTTOMS, _ON_BOTTOMS_SHARES)
    cloths[Cloth.BOTTOM] = _cloth(rng, _garment_color(rng, 0.5 + 0.4 * style.dark), bottoms)
    if skirt and rng.uniform() < 0.4:  # a dress: one cloth above and below
        cloths[Cloth.BOTTOM] = cloths[Cloth.TOP]
    for row in (Cloth.SHOES, Cloth.STRAP, *range(Cloth.THING, CLOTHS)):
        cloths[row] = _cloth(rng, _dye(rng, _pick(rng, LEATHERS)), _patterned(rng, 0.3, ("stripes", "halves")))
    for row in range(Cloth.THING, CLOTHS):
        if rng.uniform() < 0.5:
            cloths[row, :3] = _garment_color(rng, 0.3)
    cloths[Cloth.CROWN] = cloths[Cloth.HAIR] = crown
    cloths[Cloth.HAIR, :3] = hair
    cloths[Cloth.STRAP, :3] = cloths[Cloth.THING, :3] * (0.7 if loaded else 1)
    cloths[Cloth.LEGWEAR] = cloths[Cloth.SKIN]
    if rng.uniform() < (0.8 if style.long > 0.8 else 0.35):  # stockings
        cloths[Cloth.LEGWEAR] = _cloth(rng, _dye(rng, _pick(rng, COLORS[:4])), "plain")
    return cloths


def _draw_cut(rng: np.random.Generator, style: Style, numbers: Array, *, feminine: bool, outer: bool) -> float:
    """Write the lengths of sleeves, hems and shoes; the hem of the skirt or coat surface comes back, 0 for none."""

    def put(name: str, value: float) -> None:
        numbers[NUMBERS[name]] = value

    full = rng.uniform() < style.long
    put("sleeve", rng.uniform(0.93, 1.0) if full else rng.choice([0.12, 0.28, 0.36, 0.44]))
    put("top_hem", rng.uniform(0.0, 0.12))
    put("waist", -0.11)
    put("neckline", rng.uniform(0.05, 0.085))
    put("vee", rng.uniform(0.03, 0.1) if rng.uniform() < 0.4 else 0)
    put("leg_hem", rng.uniform(0.80, 0.88) if rng.uniform() < style.long + 0.35 else rng.uniform(0.28, 0.6))
    boots = rng.uniform() < 0.16 + 0.2 * (style.long > 0.8)
    put("shoe_top", rng.uniform(0.58, 0.76) if boots and feminine else rng.uniform(0.80, 0.855))
    put("fold", rng.uniform(0.08, 0.2))
    hem = 0.0
    if feminine and rng.uniform() < 2 * style.skirt:
        hem = rng.uniform(0.22, 0.7)
        put("leg_hem", -1.0)
    if outer:
        put("outer", 1)
        put("outer_sleeve", rng.uniform(0.95, 1.02) if rng.uniform() < 0.92 else 0.03)
        put("opening", rng.choice([0, 0, 0.02, 0.045, 0.07]))
        coat = rng.uniform() < 0.35
        put("outer_hem", rng.uniform(0.2, 0.45) if coat else rng.uniform(0.0, 0.13))
        hem = max(hem, float(numbers[NUMBERS["outer_hem"]])) if coat else hem
    return hem
