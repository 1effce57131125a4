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
        content = (_inside if content[:2] == b"PK" and choose(2) else _edited)(content, choose, words)
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
        members[number] = (name, _edited(inner, choose, words))
    changed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(changed, "w", (0, zipfile.ZIP_DEFLATED)[choose(2)]) as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for member in members:
            archive.writestr(*member)
    return changed.getvalue()


def _edited(content: bytes, choose: Choose, words: Sequence[bytes]) -> bytes:
    """Most spans are short, and many lie near the start, where headers are."""
    size, method = len(content), choose(8)
    start = choose(min(size, 256) + 1) if choose(2) else choose(size + 1)
    stop = min(size, start + choose((4, 16, 64, size + 1)[choose(4)]))
    before, span, after = content[:start], content[start:stop], content[stop:]
    if method == 0 and start < size:  # a bit
        return before + bytes([content[start] ^ (1 << choose(8))]) + content[start + 1 :]
    if method == 1:  # a gap
        return before + after
    if method == 2:  # a repetition
        return before + span * (1 + choose(9)) + after
    if method == 3:  # an end
        return before
    if method == 4:  # a number in a header
        form = ("<B", "<H", "<I", "<Q", ">I", ">Q")[choose(6)]
        value = INTEGERS[choose(len(INTEGERS))] & (2 ** (8 * struct.calcsize(form)) - 1)
        return before + struct.pack(form, value) + content[start + struct.calcsize(form) :]
    if method == 5 and (places := list(TEXT_NUMBER.finditer(content[:20_000]))):  # a number in a text
        place = places[choose(len(places))]
        return content[: place.start()] + NUMBERS[choose(len(NUMBERS))] + content[place.end() :]
    if method == 6 and (here := [word for word in words if word and word in content]):  # one known word for another
        return content.replace(here[choose(len(here))], words[choose(len(words))], 1)
    known = [*WORDS, *NUMBERS, *words, *words]
    return before + known[choose(len(known))] + content[start:]
