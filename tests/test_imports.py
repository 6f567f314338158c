"""At run time the package needs NumPy and the standard library, and nothing else.

One file is for tests alone and needs hypothesis as well; nothing else imports it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "numpy_transformer"
FILES = sorted(PACKAGE.rglob("*.py"))
FOR_TESTS = PACKAGE / "gradcheck" / "strategies.py"
SWEEP = PACKAGE / "gradcheck" / "sweep.py"  # draws with an optional extra, inside a function
MORE = {FOR_TESTS: {"hypothesis"}, SWEEP: {"matplotlib"}}  # what else a file may import

# What in gradcheck is about this package's own modules; the rest knows only their face.
ABOUT_THE_PACKAGE = {"points", "bugs", "matrix"}

# Floors of the house: a file imports only from floors below its own.
FLOORS = {
    "ops": 1,
    "files": 1,
    "parameters": 1,
    "layers": 2,
    "models": 3,
    "training": 4,
    "generation": 4,
    "data": 4,
    "gradcheck": 4,
    "porting": 4,
    "pipelines": 5,
    "__init__": 6,  # the package's own, which hands out the pipelines when they are asked for
    "cli": 6,
    "__main__": 7,
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
        others = {"numpy", "numpy_transformer"} | MORE.get(path, set())
        assert top in sys.stdlib_module_names | others, name
        assert not f"{name}.".startswith("numpy_transformer.gradcheck.strategies."), path
        if top != "numpy_transformer" or rest[0] == "__version__":
            continue
        same_folder = rest[0] == place
        assert same_folder or FLOORS[rest[0]] < FLOORS[place], f"{name} is not below {place}"


def test_the_checker_knows_the_face_and_nothing_else():
    for path in FILES:
        place = path.relative_to(PACKAGE).with_suffix("").parts
        if place[0] == "gradcheck" and place[1] not in ABOUT_THE_PACKAGE:
            lower = {name.split(".")[1] for name in imports(path) if "numpy_transformer." in name}
            assert lower <= {"gradcheck"}, path


def test_nothing_else_is_loaded():
    """Import everything in a new process and look at what came with it."""
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in FILES
        if path.stem not in ("__main__", "__init__") and path != FOR_TESTS
    ]
    program = f"import sys, {', '.join(modules)}; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before = subprocess.run([sys.executable, "-c", "import sys, numpy; print(*sys.modules)"],
                            capture_output=True, text=True).stdout
    already = {name.split(".")[0] for name in before.split()}
    loaded = set(done.stdout.split()) - already - set(sys.stdlib_module_names)
    loaded -= {"__mp_main__"}  # multiprocessing's second name of __main__
    assert loaded == {"numpy_transformer"}


def test_one_file_alone_imports_hypothesis_and_it_is_guarded():
    """All its imports of hypothesis stand in one ``try`` that catches ``ImportError``."""
    found = {path for path in FILES for name in imports(path) if name.split(".")[0] == "hypothesis"}
    assert found == {FOR_TESTS}
    tree = ast.parse(FOR_TESTS.read_text())
    (guard,) = (node for node in tree.body if isinstance(node, ast.Try))
    guarded = [node for statement in guard.body for node in ast.walk(statement)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "hypothesis":
            assert node in guarded
    assert [handler.type.id for handler in guard.handlers] == ["ImportError"]


def test_without_hypothesis_the_message_says_what_to_install():
    """The rest of the package, the checker included, works without it."""
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import numpy as np\n"
        "from numpy_transformer.gradcheck import gradcheck\n"
        "from numpy_transformer.ops import softmax\n"
        "print(gradcheck(softmax, np.array([[0.5, 1.0, 2.0]])).ok)\n"
        "import numpy_transformer.gradcheck.strategies"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (1, "True"), done.stderr
    assert done.stderr.splitlines()[-1] == (
        "ImportError: numpy_transformer.gradcheck.strategies needs hypothesis, which is not "
        "installed: pip install 'numpy-transformer[test]' or pip install hypothesis"
    )
