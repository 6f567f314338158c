"""What the README says is so: its examples run, its files exist, its commands are understood."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from numpy_transformer.cli import evaluate, gradcheck, predict, train
from numpy_transformer.data.dates import FORMATS

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
    assert re.search(r"dweight +4 +\S+ +right", output)
    assert names["parameters"].find(names["dparams"], names["name"] + ".weight").shape == (64, 64)


def test_the_files_that_it_names_exist():
    named = re.findall(r"`([\w/]+(?:\.py|\.md|/))`", README)
    assert len(named) > 20
    folder = ROOT / "numpy_transformer"
    for name in named:
        places = [ROOT, folder, *folder.iterdir()]
        assert any((place / name).exists() for place in places), name


COMMANDS = {"train": train, "predict": predict, "evaluate": evaluate, "gradcheck": gradcheck}


def commands():
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if "numpy-transformer" in line:
                yield line.partition("#")[0].partition("numpy-transformer")[2].split()


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_its_commands_are_understood(command):
    name, *arguments = command
    parser = argparse.ArgumentParser()
    COMMANDS[name].add_options(parser)
    parser.parse_args([argument for argument in arguments if argument != "--help"])


def test_the_number_of_formats():
    assert f"in any of {len(FORMATS)}\nways of writing them" in README


def test_ci_runs_the_readme_s_second_block():
    second = re.findall(r"^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]
    assert second.splitlines()[-1] == ".venv/bin/python -m pytest"
    assert "block == 2" in (ROOT / ".ci" / "run").read_text()
