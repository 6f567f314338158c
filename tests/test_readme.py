"""What the README says is so: its examples run, its files exist, its commands are understood."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from numpy_transformer.cli import (
    evaluate,
    export,
    finetune,
    generate,
    gradcheck,
    main,
    predict,
    pretrain,
    train,
    train_lm,
)
from numpy_transformer.data.dates import FORMATS
from numpy_transformer.gradcheck.bugs import BUGS
from numpy_transformer.gradcheck.points import POINTS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_examples_run(capsys):
    names: dict = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    output = capsys.readouterr().out
    assert "('normed', 'rstd', 'weight')" in output
    assert re.search(r"dweight +4 .* right\n", output)
    assert re.search(r"^The return statement.+", output, re.MULTILINE)
    assert re.search(r"dx +3 .* kink\n", output)
    assert names["parameters"].find(names["dparams"], names["name"] + ".weight").shape == (64, 64)


def test_the_files_that_it_names_exist():
    named = re.findall(r"`([\w/]+(?:\.py|\.md|/))`", README)
    assert len(named) > 20
    folder = ROOT / "numpy_transformer"
    for name in set(named) - {"my_ops.py"}:  # a reader's own
        places = [ROOT, folder, *(place for place in folder.rglob("*") if place.is_dir())]
        assert any((place / name).exists() for place in places), name


COMMAND_MODULES = (
    train, predict, evaluate, train_lm, generate, pretrain, finetune, export, gradcheck
)  # fmt: skip
COMMANDS = {
    module.__name__.rpartition(".")[2].replace("_", "-"): module
    for module in COMMAND_MODULES
}


def commands():
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if "numpy-transformer" in line:
                yield shlex.split(line.partition("#")[0].partition("numpy-transformer")[2])


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_its_commands_are_understood(command):
    name, *arguments = command
    parser = argparse.ArgumentParser()
    COMMANDS[name].add_options(parser)
    parser.parse_args([argument for argument in arguments if argument != "--help"])


def shown():
    """The commands below which the README shows what they print."""
    return re.findall(r"^```sh\n(numpy-transformer [^\n]*)\n```\n\n```text\n(.*?)^```", README,
                      re.MULTILINE | re.DOTALL)  # fmt: skip


def words(text):
    """The words of a line, without times and without numbers that are rounding errors.

    Of a gradient that is right all errors are such, and so is the entry where the largest of them
    is: another matrix library rounds otherwise.
    """
    found = re.sub(r"-?\d\.\d+e[-+]\d+|\d+ s$", "#", text).split()
    return [*found[:2], "right"] if found and found[-1] == "right" else found


@pytest.mark.parametrize("command, text", shown(), ids=[command for command, _ in shown()])
def test_its_commands_print_what_it_shows(command, text, tmp_path, monkeypatch, capsys):
    """Each line that is shown is, from the left, a line that is printed, in the same order."""
    (own,) = (block for block in blocks("python") if "class scale" in block)
    (tmp_path / "my_ops.py").write_text(own)
    monkeypatch.chdir(tmp_path)
    main(shlex.split(command)[1:])
    printed = iter([words(line) for line in capsys.readouterr().out.splitlines()])
    for line in filter(None, map(words, text.splitlines())):
        assert any(there[: len(line)] == line for there in printed), line


def test_the_number_of_bugs():
    assert f"all {len(BUGS)} bugs of the catalogue" in README
    assert f"a catalogue of {len(BUGS)} bugs" in README
    hidden = sum(bool(bug.invisible) for bug in BUGS.values())
    assert f"| {len(BUGS) - hidden} bugs that a gradient can show" in README
    assert f"| {hidden} bugs that no gradient shows" in README
    assert f"all {len(POINTS)} points at 200 seeds" in README
    assert f"no false alarm in {200 * len(POINTS)} checks" in README


def test_nothing_was_left_to_be_filled_in():
    assert not re.findall(r"\b(?:PY|GC)[A-Z]{3,}\b|TODO|XXX", README)


def test_the_number_of_formats():
    assert f"in any of {len(FORMATS)}\nways of writing them" in README


def test_ci_runs_the_readme_s_second_block():
    second = re.findall(r"^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]
    assert second.splitlines()[-1] == ".venv/bin/python -m pytest"
    assert "block == 2" in (ROOT / ".ci" / "run").read_text()
