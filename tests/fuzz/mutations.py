"""Changes that break a file where its reader looks: numbers, lengths, names, structure."""

import io
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence

Choose = Callable[[int], int]
"""A whole number from 0 to n - 1, drawn by hypothesis or by a seeded generator."""

NUMBERS = [*b"0 -1 1e400 nan -inf 4294967296 1.5 -0 0x10 1_0".split(), b"9" * 30, b"9" * 5000]
WORDS = [b"", b"\0", b"\n", b"\r", b" ", *b'" [ ] { } ../../x /etc/passwd \xff'.split(), b"[[[[" * 200]
INTEGERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1]
TEXT_NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def mutated(content: bytes, choose: Choose, words: Sequence[bytes] = ()) -> bytes:
    """One to four changes; an archive is changed inside as often as outside, so that its checksums stay right."""
    for _ in range(1 + choose(4)):
        if content[:2] == b"PK" and choose(2):
            content = _inside(content, choose, words)
        else:
            content = EDITS[choose(len(EDITS))](content, choose, words)
    return content


def _inside(content: bytes, choose: Choose, words: Sequence[bytes]) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # broken by an earlier change
        return content
    if not members:
        return content
    number, method = choose(len(members)), choose(8)
    name, inner = members[number]
    if method == 0:
        members.pop(number)
    elif method == 1:
        members[number] = (f"../../{name}", inner)
    elif method == 2:
        members[number] = (name, bytes(10_000_000 if choose(20) == 0 else 1000))
    elif method == 3:
        members.append((f"again/{name}", inner))
    else:
        members[number] = (name, EDITS[choose(len(EDITS))](inner, choose, words))
    changed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(changed, "w", (0, zipfile.ZIP_DEFLATED)[choose(2)]) as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for member in members:
            archive.writestr(*member)
    return changed.getvalue()


def _span(content: bytes, choose: Choose) -> tuple[int, int]:
    """Most spans are short, and many lie near the start, where headers are."""
    size = len(content)
    start = choose(min(size, 256) + 1) if choose(2) else choose(size + 1)
    return start, min(size, start + choose((4, 16, 64, size + 1)[choose(4)]))


def flip(content: bytes, choose: Choose, _: Sequence[bytes]) -> bytes:
    start, _ = _span(content, choose)
    if start >= len(content):
        return content + b"\0"
    return content[:start] + bytes([content[start] ^ (1 << choose(8))]) + content[start + 1 :]


def delete(content: bytes, choose: Choose, _: Sequence[bytes]) -> bytes:
    start, stop = _span(content, choose)
    return content[:start] + content[stop:]


def repeat(content: bytes, choose: Choose, _: Sequence[bytes]) -> bytes:
    start, stop = _span(content, choose)
    return content[:start] + content[start:stop] * (1 + choose(9)) + content[stop:]


def cut(content: bytes, choose: Choose, _: Sequence[bytes]) -> bytes:
    return content[: choose(len(content) + 1)]


def insert(content: bytes, choose: Choose, words: Sequence[bytes]) -> bytes:
    start, _ = _span(content, choose)
    known = [*WORDS, *NUMBERS, *words, *words]
    return content[:start] + known[choose(len(known))] + content[start:]


def overwrite(content: bytes, choose: Choose, _: Sequence[bytes]) -> bytes:
    start, _ = _span(content, choose)
    form = ("<B", "<H", "<I", "<Q", ">I", ">Q")[choose(6)]
    value = INTEGERS[choose(len(INTEGERS))] & (2 ** (8 * struct.calcsize(form)) - 1)
    return content[:start] + struct.pack(form, value) + content[start + struct.calcsize(form) :]


def renumber(content: bytes, choose: Choose, _: Sequence[bytes]) -> bytes:
    places = list(TEXT_NUMBER.finditer(content[:20_000]))
    if not places:
        return content
    place = places[choose(len(places))]
    return content[: place.start()] + NUMBERS[choose(len(NUMBERS))] + content[place.end() :]


def swap_words(content: bytes, choose: Choose, words: Sequence[bytes]) -> bytes:
    """One known word for another, so that a name exists but elsewhere."""
    here = [word for word in words if word and word in content]
    if not here:
        return insert(content, choose, words)
    return content.replace(here[choose(len(here))], words[choose(len(words))], 1)


EDITS = [flip, delete, repeat, cut, insert, overwrite, renumber, swap_words]
