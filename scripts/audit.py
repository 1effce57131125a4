"""Known faults of what is installed here, and the licenses of what ogreid needs: ``python scripts/audit.py``.

pip-audit asks PyPI, and OSV where PyPI told nothing. Leaves with

0  nothing is wrong; or PyPI, as it is seen from here, knows none of the packages (a mirror without such data), and OSV
   tells no more: one line says so
1  a fault is known, or a license is not among those allowed
2  PyPI could not be asked, nor OSV in its place
"""

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import NamedTuple

from packaging.requirements import Requirement

SERVICES = ("pypi", "osv")
# What may be used beside MIT code: all parts of an expression must be among them, of alternatives one.
ALLOWED = re.compile(
    r"\b(MIT|0?BSD|Apache|PSF|Python Software Foundation|ISC|HPND|MPL|Mozilla|Zlib|BSL-1\.0|CC0-1\.0)\b"
)
# What torch's CUDA build brings: under NVIDIA's own terms, which allow its use; nothing of it is passed on here.
OF_CUDA = ("nvidia-", "cuda-")


class Answer(NamedTuple):
    """What one service told: faults as lines, packages it knows and does not know; or why it told nothing."""

    faults: Sequence[str] = ()
    known: int = 0
    unknown: Sequence[str] = ()
    silent: str = ""


def pip_audit(service: str) -> subprocess.CompletedProcess[str]:
    """pip-audit's JSON on standard output; without any where it broke off, with a traceback as its last words."""
    asked = ["--local", "--skip-editable", "--progress-spinner", "off", "--format", "json", "--desc", "off"]
    command = [sys.executable, "-m", "pip_audit", *asked, "--vulnerability-service", service]
    return subprocess.run(command, capture_output=True, text=True)


def answer(told: subprocess.CompletedProcess[str]) -> Answer:
    """pip-audit leaves with 1 both when it found something and when it broke off: only its JSON tells them apart."""
    try:
        packages = json.loads(told.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        last = (told.stderr.strip().splitlines() or [f"status {told.returncode}"])[-1]
        return Answer(silent=textwrap.shorten(last, 120))
    answered = [one for one in packages if "skip_reason" not in one]
    faults = [
        f"{one['name']} {one['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no version'}"
        for one in answered
        for fault in one["vulns"]
    ]
    return Answer(faults, len(answered), [one["name"] for one in packages if "skip_reason" in one])


def faults(ask: Callable[[str], subprocess.CompletedProcess[str]], say: Callable[[str], object]) -> int:
    """Ask one service after the other until one knows packages; the status to leave with."""
    answers = {}
    for service in SERVICES:
        found = answers[service] = answer(ask(service))
        if found.known:
            not_known = f", {len(found.unknown)} not known to it: {', '.join(found.unknown)}" if found.unknown else ""
            say(f"faults: {len(found.faults)} in {found.known} packages ({service}{not_known})")
            for line in found.faults:
                say(line)
            return 1 if found.faults else 0
    told = "; ".join(f"{name}: {one.silent or 'knows no package'}" for name, one in answers.items())
    if answers["pypi"].silent:
        say(f"faults: nobody could be asked ({told})")
        return 2
    say(f"faults: not looked for, as the package index offers no such data ({told})")
    return 0


def needed(name: str) -> set[str]:
    """Every installed distribution that one needs, directly or not, without itself."""
    waiting, found = [(name, "")], set()
    while waiting:
        one, extra = waiting.pop()
        if (one, extra) in found:
            continue
        try:
            asked = map(Requirement, distribution(one).requires or [])
        except PackageNotFoundError:
            continue  # of another platform
        found.add((one, extra))
        for need in asked:
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                clean = re.sub(r"[-_.]+", "-", need.name).lower()
                waiting += [(clean, more) for more in ("", *need.extras)]
    return {one for one, _ in found} - {name}


def license(name: str) -> str:
    """What a distribution says of its license: the expression, else the classifiers, else the first words."""
    about = distribution(name).metadata
    classified = [one.rpartition("::")[2].strip() for one in about.get_all("Classifier", []) if "License" in one]
    words = (about.get("License") or "").strip().partition("\n")[0]
    return about.get("License-Expression") or " AND ".join(classified) or words


def allowed(told: str) -> bool:
    """Whether every part of a license expression has an alternative that is allowed."""
    parts = re.split(r"\bAND\b", told)
    return all(any(ALLOWED.search(choice) for choice in re.split(r"\bOR\b", part)) for part in parts)


def licenses(names: Iterable[str]) -> Iterator[str]:
    """What must not come along, a line each."""
    for name in sorted(names):
        if not name.startswith(OF_CUDA) and not allowed(license(name)):
            yield f"{name}: {license(name) or 'says nothing of its license'}"


def main() -> int:
    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")

    names = needed("ogreid")
    refused = list(licenses(names))
    say(f"licenses: {len(refused)} of {len(names)} packages that ogreid needs may not be used beside MIT code")
    for line in refused:
        say(line)
    return faults(pip_audit, say) or (1 if refused else 0)


if __name__ == "__main__":
    sys.exit(main())
