"""Attributes of a person: body shape, skin, hair, garments with their colors and patterns, shoes, props, gait."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ogreid.synthetic.body import Array, Body, Gait, draw_gait
from ogreid.synthetic.render import Cloth, Pattern, Trait

T = TypeVar("T")

# Everyday colors of cloth, sRGB; the first eight are what most people wear in winter.
COLORS = (
    "17181c", "2b2d33", "1d2740", "4a4c50", "3b3029", "77797d", "26382c", "4c1f26",
    "c9c6bf", "f0efec", "e6dcc4", "b8a37e", "8a6a45", "a32a2e", "d8432f", "e88a2c",
    "eec846", "8fae3f", "2f7d4b", "1f8a8c", "5aa7d8", "2b5fb3", "34449c", "6a3f9a",
    "b0559f", "e59ab8", "8e2f55", "5e6d7a",
)  # fmt: skip
DARK = 8
LEATHERS = ("15151a", "2a2320", "4b3324", "7a5a3a", "e9e7e2", "8d8f94", "a32a2e", "2b5fb3", "2f7d4b")
# With how often each occurs:
SKINS = {"f1c9ab": 3, "e6b592": 4, "d9a27a": 4, "c08457": 3, "a06a43": 2, "7a4a2e": 2, "5a3524": 1}
HAIRS = {
    "15120f": 6, "2a1d15": 5, "3f2a1c": 4, "5c3d26": 3, "83603a": 2, "b08d57": 1.5, "8f8b86": 1, "c9c5be": 1,
    "6e2a18": 1,
}  # fmt: skip

SHORTEST, TALLEST = 1.45, 2.0


@dataclass(frozen=True)
class Style:
    """How the people of a place dress: shares in [0, 1] of those who do."""

    dark: float  # garments in one of the dark colors
    outer: float  # a jacket or coat over the top
    long: float  # sleeves and trousers of full length
    pattern: float  # garments with a pattern
    skirt: float  # skirts and dresses
    hat: float  # something on the head
    backpack: float
    bag: float  # on one shoulder
    carried: float  # something in a hand


STYLES = {
    "summer": Style(0.32, 0.12, 0.3, 0.5, 0.24, 0.1, 0.24, 0.26, 0.18),
    "cold": Style(0.72, 0.75, 0.97, 0.28, 0.08, 0.3, 0.34, 0.2, 0.16),
    "commuter": Style(0.48, 0.45, 0.7, 0.36, 0.18, 0.14, 0.3, 0.28, 0.26),
    "campus": Style(0.42, 0.3, 0.6, 0.45, 0.14, 0.1, 0.5, 0.18, 0.14),
}


@dataclass(frozen=True)
class PersonAttributes:
    """One person as dressed on one day."""

    shape: Array  # (S,) scores of the body
    cloths: Array  # (len(Cloth), 10) table for ``paint``, colors in linear light
    traits: Array  # (len(Trait),) for ``paint``
    hair: str  # "shaved", "short", "crop", "bob", "long", "tail" or "bun"
    headgear: str  # "", "beanie", "cap", "hood" or "scarf"
    skirt_hem: float  # how far down the skirt or coat surface reaches, in rest coordinates; 0 for none
    loose: tuple[float, float, float, float]  # thickness of cloth over torso, arms, thighs and shins, meters
    props: tuple[str, ...]  # kinds of props, in the order of their cloths
    gait: Gait


def linear(color: str) -> Array:
    """Linear light (3,) of an sRGB color in hexadecimal (IEC 61966-2-1)."""
    srgb = np.array([int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return np.asarray(np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4), dtype=np.float32)


def _pick(rng: np.random.Generator, choices: Collection[T]) -> T:
    """One of the choices; those of a mapping are as likely as their values say."""
    shares = np.asarray(list(choices.values())) if isinstance(choices, Mapping) else None
    return list(choices)[int(rng.choice(len(choices), p=None if shares is None else shares / np.sum(shares)))]


def _dye(rng: np.random.Generator, color: str, spread: float = 0.16) -> Array:
    """A color as dyed: a little lighter or darker, a little off in hue."""
    dyed = linear(color) * np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, spread / 3, 3))
    return np.asarray(np.clip(dyed, 0.006, 0.9), dtype=np.float32)


def _garment_color(rng: np.random.Generator, dark: float) -> Array:
    return _dye(rng, _pick(rng, COLORS[:DARK] if rng.uniform() < dark else COLORS[DARK - 3 :]))


# How a pattern is scaled and placed: low and high period, low and high phase, meters.
_PLACING = {
    Pattern.STRIPES: (0.07, 0.16, 0, 0.2),
    Pattern.PINSTRIPES: (0.07, 0.14, 0, 0.2),
    Pattern.CHECK: (0.08, 0.17, 0, 0.2),
    Pattern.DOTS: (0.09, 0.14, 0, 0.2),
    Pattern.BLOCK: (0.1, 0.1, -0.32, -0.08),
    Pattern.BAND: (0.06, 0.12, -0.32, -0.15),
    Pattern.PRINT: (0.05, 0.09, -0.31, -0.2),
}
_TOPS = {
    Pattern.STRIPES: 5, Pattern.PINSTRIPES: 2, Pattern.CHECK: 4, Pattern.DOTS: 2, Pattern.BLOCK: 3, Pattern.BAND: 3,
    Pattern.PRINT: 4, Pattern.SLEEVES: 3, Pattern.YOKE: 2, Pattern.HALVES: 0.6,
}  # fmt: skip
_OUTERS = (
    Pattern.CHECK, Pattern.BLOCK, Pattern.BAND, Pattern.PRINT, Pattern.SIDE, Pattern.SLEEVES, Pattern.YOKE,
    Pattern.CAMOUFLAGE,
)  # fmt: skip
_BOTTOMS = {
    Pattern.SIDE: 5, Pattern.CHECK: 2, Pattern.PINSTRIPES: 1, Pattern.CAMOUFLAGE: 1, Pattern.STRIPES: 1, Pattern.DOTS: 1
}  # fmt: skip


def _cloth(rng: np.random.Generator, color: Array, pattern: Pattern = Pattern.PLAIN) -> Array:
    low, high, start, end = _PLACING.get(pattern, (0.1, 0.1, 0, 1))
    placing = (pattern, rng.uniform(low, high), rng.uniform(start, end), rng.uniform(0.8, 1.0))
    others = [_dye(rng, _pick(rng, COLORS)) for _ in range(4)]
    # The second color is the farthest of four in perceived lightness and hue.
    second = max(others, key=lambda other: float(np.abs(np.cbrt(other) - np.cbrt(color)).sum()))
    return np.concatenate([color, second, placing]).astype(np.float32)


def _pattern(rng: np.random.Generator, share: float, patterns: Collection[Pattern]) -> Pattern:
    return _pick(rng, patterns) if rng.uniform() < share else Pattern.PLAIN


def _draw_shape(body: Body, rng: np.random.Generator) -> Array:
    """Near one of the example adults; drawn again outside ordinary heights."""
    while True:
        example = body.example_scores[rng.integers(len(body.example_scores))]
        shape = example + rng.normal(0, 0.2, len(body.components)).astype(np.float32)
        if SHORTEST <= body.height(shape) <= TALLEST:
            return np.asarray(shape)


def _draw_hair(rng: np.random.Generator, feminine: bool, traits: Array) -> str:
    """Style of the hair; writes hairline, cut and beard."""
    if feminine:
        hair = _pick(rng, {"short": 1, "bob": 3, "long": 4, "tail": 3, "bun": 1.5})
    else:
        hair = _pick(rng, {"shaved": 1.2, "crop": 4, "short": 4, "bob": 0.6, "tail": 0.4})
        traits[Trait.BEARD] = rng.choice([0, 0, 0, 0.5, 0.9])
    traits[Trait.HAIRLINE] = rng.uniform(-0.765, -0.74) if hair != "shaved" else -0.775
    traits[Trait.HAIR_CUT] = {"bob": rng.uniform(-0.62, -0.55), "long": rng.uniform(-0.48, -0.28)}.get(hair, 0)
    return hair


def _draw_props(rng: np.random.Generator, style: Style, traits: Array) -> tuple[tuple[str, ...], int]:
    """Props and the arm that they load (1 left, -1 right); writes the straps."""
    props, load = [], 0
    if rng.uniform() < style.backpack:
        props.append("backpack")
        traits[Trait.STRAP] = 1
    elif rng.uniform() < style.bag / (1 - style.backpack):
        side = _pick(rng, "LR")
        props.append(f"{_pick(rng, ('satchel', 'tote'))}.{side}")
        traits[Trait.STRAP] = 2 if side == "L" else 3
    if rng.uniform() < style.carried:
        side = _pick(rng, "LR")
        props.append(f"{_pick(rng, ('shopper', 'case', 'handbag'))}.{side}")
        load = 1 if side == "L" else -1
    return tuple(props), load


def draw_attributes(body: Body, style: Style, rng: np.random.Generator) -> PersonAttributes:
    """A random person in the style of a place."""
    traits = np.zeros(len(Trait), dtype=np.float32)
    feminine = bool(rng.uniform() < 0.5)
    hair = _draw_hair(rng, feminine, traits)
    props, load = _draw_props(rng, style, traits)
    hats = {"beanie": 3, "cap": 3, "hood": 2, "scarf": 1 if feminine else 0}
    headgear = _pick(rng, hats) if rng.uniform() < style.hat else ""
    outer = bool(rng.uniform() < style.outer)
    hem = _draw_lengths(rng, style, traits, feminine=feminine, outer=outer)
    cloths = _draw_cloths(rng, style, headgear=bool(headgear), skirt=hem > 0 and not outer, loaded=bool(props))
    torso = rng.uniform(0.004, 0.014) + (rng.uniform(0.006, 0.02) if outer else 0)
    arms = rng.uniform(0.004, 0.014) + (rng.uniform(0.004, 0.012) if outer else 0)
    loose = torso, arms, rng.uniform(0.004, 0.02), rng.uniform(0.004, 0.04)
    shape = _draw_shape(body, rng)
    return PersonAttributes(shape, cloths, traits, hair, headgear, hem, loose, props, draw_gait(rng, load))


def _draw_cloths(rng: np.random.Generator, style: Style, *, headgear: bool, skirt: bool, loaded: bool) -> Array:
    cloths = np.zeros((len(Cloth), 10), dtype=np.float32)
    cloths[Cloth.SKIN] = _cloth(rng, _dye(rng, _pick(rng, SKINS), 0.08))
    hair = _dye(rng, _pick(rng, HAIRS), 0.1)
    crown = _cloth(rng, _garment_color(rng, 0.4) if headgear else hair)
    cloths[Cloth.TOP] = _cloth(rng, _garment_color(rng, style.dark), _pattern(rng, style.pattern, _TOPS))
    cloths[Cloth.OUTER] = _cloth(rng, _garment_color(rng, style.dark), _pattern(rng, style.pattern, _OUTERS))
    bottoms = _pattern(rng, 0.6 * style.pattern, _BOTTOMS)
    cloths[Cloth.BOTTOM] = _cloth(rng, _garment_color(rng, 0.5 + 0.4 * style.dark), bottoms)
    if skirt and rng.uniform() < 0.4:  # a dress: one cloth above and below
        cloths[Cloth.BOTTOM] = cloths[Cloth.TOP]
    for row in (Cloth.SHOES, Cloth.STRAP, *range(Cloth.PROP, len(Cloth))):
        leather = _dye(rng, _pick(rng, LEATHERS))
        cloths[row] = _cloth(rng, leather, _pattern(rng, 0.3, (Pattern.STRIPES, Pattern.HALVES)))
    for row in range(Cloth.PROP, len(Cloth)):
        if rng.uniform() < 0.5:
            cloths[row, :3] = _garment_color(rng, 0.3)
    cloths[Cloth.CROWN] = cloths[Cloth.HAIR] = crown
    cloths[Cloth.HAIR, :3] = hair
    cloths[Cloth.STRAP, :3] = cloths[Cloth.PROP, :3] * (0.7 if loaded else 1)
    cloths[Cloth.LEGWEAR] = cloths[Cloth.SKIN]
    if rng.uniform() < (0.8 if style.long > 0.8 else 0.35):  # stockings
        cloths[Cloth.LEGWEAR] = _cloth(rng, _dye(rng, _pick(rng, COLORS[:4])))
    return cloths


def _draw_lengths(rng: np.random.Generator, style: Style, traits: Array, *, feminine: bool, outer: bool) -> float:
    """Write the lengths of sleeves, hems and shoes; returns the hem of the skirt or coat surface, 0 for none."""
    full = rng.uniform() < style.long
    traits[Trait.SLEEVE] = rng.uniform(0.93, 1.0) if full else rng.choice([0.12, 0.28, 0.36, 0.44])
    traits[Trait.TOP_HEM] = rng.uniform(0.0, 0.12)
    traits[Trait.WAIST] = -0.11
    traits[Trait.NECKLINE] = rng.uniform(0.05, 0.085)
    traits[Trait.VEE] = rng.uniform(0.03, 0.1) if rng.uniform() < 0.4 else 0
    traits[Trait.LEG_HEM] = rng.uniform(0.80, 0.88) if rng.uniform() < style.long + 0.35 else rng.uniform(0.28, 0.6)
    boots = rng.uniform() < 0.16 + 0.2 * (style.long > 0.8)
    traits[Trait.SHOE_TOP] = rng.uniform(0.58, 0.76) if boots and feminine else rng.uniform(0.80, 0.855)
    traits[Trait.FOLD] = rng.uniform(0.08, 0.2)
    hem = 0.0
    if feminine and rng.uniform() < 2 * style.skirt:
        hem = rng.uniform(0.22, 0.7)
        traits[Trait.LEG_HEM] = -1
    if outer:
        traits[Trait.OUTER] = 1
        traits[Trait.OUTER_SLEEVE] = rng.uniform(0.95, 1.02) if rng.uniform() < 0.92 else 0.03
        traits[Trait.OPENING] = rng.choice([0, 0, 0.02, 0.045, 0.07])
        coat = rng.uniform() < 0.35
        traits[Trait.OUTER_HEM] = rng.uniform(0.2, 0.45) if coat else rng.uniform(0.0, 0.13)
        hem = max(hem, float(traits[Trait.OUTER_HEM])) if coat else hem
    return hem
