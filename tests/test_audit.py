"""Everything that comes along may be used beside MIT code."""

import audit


def test_a_license_is_allowed_as_a_whole():
    for license in ("BSD-3-Clause AND 0BSD AND MIT", "Apache-2.0 WITH LLVM-exception", "GPL-3.0-only OR MIT"):
        assert audit.allowed(license)
    for license in ("GPL-3.0-only AND MIT", "Used under LIMITED permission", ""):
        assert not audit.allowed(license)


def test_everything_that_comes_along_may_be_used_beside_mit_code():
    names = audit.needed("ogreid")
    assert {"torch", "lightning", "sympy"} <= names, "directly or not"
    assert list(audit.licenses(names)) == []
