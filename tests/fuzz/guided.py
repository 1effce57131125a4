"""One reader fuzzed by coverage: ``python tests/fuzz/guided.py READER -runs=10000``; libFuzzer's options are taken.

What leads into lines of ogreid that were not seen before is kept and changed further, by libFuzzer and by our own
changes in turn. The first byte of an input chooses the file, the rest is its content. Leaves with another status than 0
at the first file that is lost, and says where libFuzzer has kept it.
"""

import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

TESTS = Path(__file__).resolve().parents[1]
SOURCES = TESTS.parent / "src"


def compiled():
    """Modules that numba compiles: it cannot read bytecode that counts."""
    paths = [path for path in (SOURCES / "ogreid").rglob("*.py") if "njit" in path.read_text()]
    return [".".join(path.relative_to(SOURCES).with_suffix("").parts) for path in paths]


def main():
    sys.path.insert(0, str(TESTS))
    with atheris.instrument_imports(include=["ogreid"], exclude=compiled()):
        from fuzz.mutations import mutated
        from fuzz.readers import READERS
        from fuzz.test_hostile_files import lay_out
        from fuzz.watch import survives
    reader = READERS[sys.argv[1]]()

    def attempt(drawn):
        name = reader.targets[(drawn[0] if drawn else 0) % len(reader.targets)]
        (folder / name).write_bytes(drawn[1:])
        try:
            survives(reader.read, folder, name)
        finally:
            (folder / name).write_bytes(reader.files[name])

    def change(drawn, longest, seed):
        choice = random.Random(seed)
        if not drawn or choice.random() < 0.5:
            return atheris.Mutate(drawn, longest)
        return (drawn[:1] + mutated(drawn[1:], choice.randrange, reader.words))[:longest]

    with TemporaryDirectory() as place:
        folder, corpus = Path(place) / "files", Path(place) / "corpus"
        corpus.mkdir()
        lay_out(reader, folder)
        for number, name in enumerate(reader.targets):
            (corpus / str(number)).write_bytes(bytes([number]) + reader.files[name])
        options = ["-seed=1", "-rss_limit_mb=0", f"-artifact_prefix={Path.cwd()}/lost-", *sys.argv[2:]]
        atheris.Setup([sys.argv[0], *options, str(corpus)], attempt, custom_mutator=change)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
