"""The examples of docstrings give what they show, and the API reference names what exists."""

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = [
    pytest.param(path, node, id=f"{path.stem}-{getattr(node, 'name', '')}")
    for path in sorted(ROOT.glob("src/**/*.py"))
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ">>> " in (ast.get_docstring(node) or "")
]


@pytest.mark.parametrize(("path", "node"), EXAMPLES)
def test_the_examples_of_a_docstring_give_what_they_show(path, node):
    """Read from the source: type checkers and compilers wrap functions, which doctest's own finder leaves out."""
    name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    names = dict(vars(importlib.import_module(name)))
    example = doctest.DocTestParser().get_doctest(
        ast.get_docstring(node), names, name, str(path), getattr(node, "lineno", 0)
    )
    with np.printoptions(precision=8, suppress=False, threshold=1000, linewidth=75):
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        assert runner.run(example).failed == 0


def test_every_name_of_the_api_reference_exists():
    names = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert len(names) > 20 and all(pkgutil.resolve_name(name) for name in names)
