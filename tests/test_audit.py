"""Known vulnerabilities lead to the right status, and everything that comes along may be used beside MIT code."""

import json
from subprocess import CompletedProcess

import pytest

import audit

CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
FAULTY = {"name": "requests", "version": "2.0", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["2.1"]}]}
ABSENT = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0+cpu)"}
BROKEN = CompletedProcess([], 1, "", "Traceback (most recent call last):\n  ...\nConnectionError: api is not there\n")


def answer(*packages, status: int = 0) -> CompletedProcess[str]:
    """In pip-audit's documented JSON."""
    return CompletedProcess([], status, json.dumps({"dependencies": packages, "fixes": []}), "")


@pytest.mark.parametrize(
    ("answers", "status", "words"),
    [
        ([answer(CLEAN, ABSENT)], 0, ["0 in 1", "torch"]),
        ([answer(CLEAN, FAULTY, status=1)], 1, ["1 in 2", "requests 2.0", "PYSEC-2026-1", "2.1"]),
        ([answer(ABSENT), answer(FAULTY, status=1)], 1, ["osv", "PYSEC-2026-1"]),
        ([BROKEN, answer(CLEAN)], 0, ["0 in 1", "osv"]),
        ([answer(ABSENT), BROKEN], 0, ["not looked for", "ConnectionError"]),
        ([BROKEN, BROKEN], 2, ["ConnectionError"]),
    ],
)
def test_a_vulnerability_a_clean_answer_and_no_answer_differ(answers, status, words):
    lines: list[str] = []
    assert audit.faults(dict(zip(audit.SERVICES, answers, strict=False)).__getitem__, lines.append) == status
    assert all(word in " ".join(lines) for word in words)


def test_a_license_is_allowed_as_a_whole():
    for license in ("BSD-3-Clause AND 0BSD AND MIT", "Apache-2.0 WITH LLVM-exception", "GPL-3.0-only OR MIT"):
        assert audit.allowed(license)
    for license in ("GPL-3.0-only AND MIT", "Used under LIMITED permission", ""):
        assert not audit.allowed(license)


def test_everything_that_comes_along_may_be_used_beside_mit_code():
    names = audit.needed("ogreid")
    assert {"torch", "lightning", "sympy"} <= names, "directly or not"
    assert list(audit.licenses(names)) == []
