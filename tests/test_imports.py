"""At run time the package needs NumPy and the standard library, and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "numpy_transformer"
FILES = sorted(PACKAGE.rglob("*.py"))

# Floors of the house: a file imports only from floors below its own.
FLOORS = {
    "ops": 1,
    "parameters": 1,
    "layers": 2,
    "models": 3,
    "training": 4,
    "generation": 4,
    "data": 4,
    "gradcheck": 4,
    "points": 4,
    "cli": 5,
    "__main__": 6,
}


def imports(path):
    """The dotted names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_numpy_the_standard_library_and_lower_floors(path):
    place = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for name in imports(path):
        top, *rest = name.split(".")
        assert top in sys.stdlib_module_names | {"numpy", "numpy_transformer"}, name
        if top != "numpy_transformer" or rest[0] == "__version__":
            continue
        same_folder = rest[0] == place
        assert same_folder or FLOORS[rest[0]] < FLOORS[place], f"{name} is not below {place}"


def test_nothing_else_is_loaded():
    """Import everything in a new process and look at what came with it."""
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in FILES
        if path.stem not in ("__main__", "__init__")
    ]
    program = f"import sys, {', '.join(modules)}; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before = subprocess.run([sys.executable, "-c", "import sys, numpy; print(*sys.modules)"],
                            capture_output=True, text=True).stdout
    already = {name.split(".")[0] for name in before.split()}
    loaded = set(done.stdout.split()) - already - set(sys.stdlib_module_names)
    assert loaded == {"numpy_transformer"}
