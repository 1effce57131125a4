"""What pip-audit tells, and what it cannot tell, lead to the right status; licenses are read whole."""

import json
from subprocess import CompletedProcess

import pytest

import audit

FAULT = {"id": "PYSEC-2026-1", "fix_versions": ["2.1"], "aliases": ["CVE-2026-1"], "description": "..."}
CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
FAULTY = {"name": "requests", "version": "2.0", "vulns": [FAULT]}
ABSENT = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0+cpu)"}


def told(*packages, status: int = 0) -> CompletedProcess[str]:
    """In pip-audit's documented JSON."""
    return CompletedProcess([], status, json.dumps({"dependencies": packages, "fixes": []}), "No known faults\n")


BROKEN = CompletedProcess([], 1, "", "Traceback (most recent call last):\n  ...\nConnectionError: api is not there\n")
CASES = {
    "clean": ([told(CLEAN)], 0, ["faults: 0 in 1 packages (pypi)"]),
    "some are not known": ([told(CLEAN, ABSENT)], 0, ["faults: 0 in 1 packages (pypi, 1 not known to it: torch)"]),
    "a fault": (
        [told(CLEAN, FAULTY, status=1)],
        1,
        ["faults: 1 in 2 packages (pypi)", "requests 2.0: PYSEC-2026-1, mended in 2.1"],
    ),
    "a fault that only OSV tells": (
        [told(ABSENT), told(FAULTY, status=1)],
        1,
        ["faults: 1 in 1 packages (osv)", "requests 2.0: PYSEC-2026-1, mended in 2.1"],
    ),
    "a mirror without data, and no way to OSV": (
        [told(ABSENT), BROKEN],
        0,
        [
            "faults: not looked for, as the package index offers no such data "
            "(pypi: knows no package; osv: ConnectionError: api is not there)"
        ],
    ),
    "OSV in the place of PyPI": ([BROKEN, told(CLEAN)], 0, ["faults: 0 in 1 packages (osv)"]),
    "nobody": (
        [BROKEN, BROKEN],
        2,
        [
            "faults: nobody could be asked "
            "(pypi: ConnectionError: api is not there; osv: ConnectionError: api is not there)"
        ],
    ),
    "no pip-audit": (
        [CompletedProcess([], 1, "", ""), BROKEN],
        2,
        ["faults: nobody could be asked (pypi: status 1; osv: ConnectionError: api is not there)"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_found_and_what_could_not_be_asked_are_told_apart(case):
    answers, status, lines = CASES[case]
    asked, said = dict(zip(audit.SERVICES, answers, strict=False)), []
    assert audit.faults(asked.__getitem__, said.append) == status
    assert said == lines


@pytest.mark.parametrize(
    ("license", "may"),
    [
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("Used under LIMITED permission", False),
        ("", False),
    ],
)
def test_a_license_is_allowed_as_a_whole(license, may):
    assert audit.allowed(license) == may


def test_everything_that_comes_along_may_be_used_beside_mit_code():
    names = audit.needed("ogreid")
    assert {"torch", "lightning", "sympy"} <= names, "directly or not"
    assert list(audit.licenses(names)) == []
