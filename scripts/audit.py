"""Known vulnerabilities of what is installed, and licenses of ogreid's dependencies: ``python scripts/audit.py``.

pip-audit queries PyPI, and OSV where PyPI has no data. Exit status:

0  no problem; or the package index in use has no such data (a mirror), and OSV does not answer: one line says so
1  a known vulnerability, or a license that is not allowed
2  neither PyPI nor OSV could be reached
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
# Compatible with MIT: every part of an expression must be among them, of alternatives one.
ALLOWED = re.compile(
    r"\b(MIT|0?BSD|Apache|PSF|Python Software Foundation|ISC|HPND|MPL|Mozilla|Zlib|BSL-1\.0|CC0-1\.0)\b"
)
# Dependencies of torch's CUDA build, under NVIDIA's terms, which allow their use; nothing of them is redistributed.
OF_CUDA = ("nvidia-", "cuda-")


class Answer(NamedTuple):
    """Of one service: vulnerabilities as lines, packages it knows and does not know; or why there is no answer."""

    faults: Sequence[str] = ()
    known: int = 0
    unknown: Sequence[str] = ()
    failure: str = ""


def pip_audit(service: str) -> subprocess.CompletedProcess[str]:
    """pip-audit's JSON on standard output; nothing there where it failed, with a traceback on standard error."""
    options = ["--local", "--skip-editable", "--progress-spinner", "off", "--format", "json", "--desc", "off"]
    command = [sys.executable, "-m", "pip_audit", *options, "--vulnerability-service", service]
    return subprocess.run(command, capture_output=True, text=True)


def answer(process: subprocess.CompletedProcess[str]) -> Answer:
    """pip-audit exits with 1 both for a vulnerability and for a failure of its own: only its JSON tells them apart."""
    try:
        packages = json.loads(process.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        last = (process.stderr.strip().splitlines() or [f"status {process.returncode}"])[-1]
        return Answer(failure=textwrap.shorten(last, 120))
    known = [one for one in packages if "skip_reason" not in one]
    faults = [
        f"{one['name']} {one['version']}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'no version'}"
        for one in known
        for fault in one["vulns"]
    ]
    return Answer(faults, len(known), [one["name"] for one in packages if "skip_reason" in one])


def faults(ask: Callable[[str], subprocess.CompletedProcess[str]], say: Callable[[str], object]) -> int:
    """Query one service after the other until one knows packages; returns the exit status."""
    answers = {}
    for service in SERVICES:
        report = answers[service] = answer(ask(service))
        if report.known:
            unknown = f", {len(report.unknown)} unknown to it: {', '.join(report.unknown)}" if report.unknown else ""
            say(f"vulnerabilities: {len(report.faults)} in {report.known} packages ({service}{unknown})")
            for line in report.faults:
                say(line)
            return 1 if report.faults else 0
    reasons = "; ".join(f"{name}: {one.failure or 'knows no package'}" for name, one in answers.items())
    if answers["pypi"].failure:
        say(f"vulnerabilities: no service could be reached ({reasons})")
        return 2
    say(f"vulnerabilities: not looked for, the package index has no such data ({reasons})")
    return 0


def needed(name: str) -> set[str]:
    """Every installed distribution that ``name`` depends on, directly or not."""
    pending, visited = [(name, "")], set()
    while pending:
        one, extra = pending.pop()
        if (one, extra) in visited:
            continue
        try:
            requirements = map(Requirement, distribution(one).requires or [])
        except PackageNotFoundError:
            continue  # of another platform
        visited.add((one, extra))
        for requirement in requirements:
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                normalized = re.sub(r"[-_.]+", "-", requirement.name).lower()
                pending += [(normalized, more) for more in ("", *requirement.extras)]
    return {one for one, _ in visited} - {name}


def license(name: str) -> str:
    """The license in a distribution's metadata: the expression, else the classifiers, else the first line of text."""
    metadata = distribution(name).metadata
    classified = [one.rpartition("::")[2].strip() for one in metadata.get_all("Classifier", []) if "License" in one]
    text = (metadata.get("License") or "").strip().partition("\n")[0]
    return metadata.get("License-Expression") or " AND ".join(classified) or text


def allowed(expression: str) -> bool:
    """Whether every part of a license expression has an alternative that is allowed."""
    parts = re.split(r"\bAND\b", expression)
    return all(any(ALLOWED.search(choice) for choice in re.split(r"\bOR\b", part)) for part in parts)


def licenses(names: Iterable[str]) -> Iterator[str]:
    """The packages whose license is not allowed, a line each."""
    for name in sorted(names):
        if not name.startswith(OF_CUDA) and not allowed(license(name)):
            yield f"{name}: {license(name) or 'states no license'}"


def main() -> int:
    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")

    names = needed("ogreid")
    refused = list(licenses(names))
    say(f"licenses: {len(refused)} of {len(names)} dependencies are not compatible with MIT")
    for line in refused:
        say(line)
    return faults(pip_audit, say) or (1 if refused else 0)


if __name__ == "__main__":
    sys.exit(main())
