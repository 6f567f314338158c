"""Damaged files, thousands of them: ``fuzz_porting.py`` says how they are made and judged.

Here it runs for a short while; for long, run the script by hand.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import fuzz_porting
import numpy as np
import pytest

SCRIPT = Path(fuzz_porting.__file__)
COUNT = 1000


def test_damaged_files_are_refused_or_read_as_they_are():
    """In a process of its own, which a crash would end."""
    command = [sys.executable, str(SCRIPT), "--count", str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = re.findall(r"(\w+): (\d+) damaged, (\d+) refused, .* (\d+) wrong", done.stdout)
    assert [kind for kind, *_ in outcomes] == ["safetensors", "zip", "older"]
    for _, damaged, refused, wrong in outcomes:
        assert (int(damaged), int(wrong)) == (COUNT, 0)
        assert COUNT * 0.7 < int(refused) < COUNT  # it does damage, and not all of it alike


def crash(path):
    raise KeyError("archive")


def devour(path):
    return {"large": bytearray(2**40)}


def writable(path):
    return {"weight": np.zeros(3)}


def invented(path):
    array = np.zeros(3)
    array.flags.writeable = False
    return {"weight": array}


@pytest.mark.parametrize(
    "kind, reader, message",
    [(kind, crash, "KeyError: 'archive'") for kind in fuzz_porting.DAMAGE]
    + [(kind, devour, "MemoryError") for kind in fuzz_porting.DAMAGE]
    + [(kind, writable, "AssertionError") for kind in fuzz_porting.DAMAGE]
    + [
        ("safetensors", invented, "what was read is not what the file says"),
        ("zip", invented, "the checksums are right and the arrays are not"),
    ],
)
def test_the_judge_finds_readers_that_do_what_they_must_not(
    kind, reader, message, tmp_path, monkeypatch
):
    monkeypatch.setitem(fuzz_porting.READ, kind, reader)
    before = {file: {} for file in fuzz_porting.FILES[kind]}
    problems = [
        fuzz_porting.run(kind, number, 0, tmp_path / "damaged", before)[1] for number in range(20)
    ]
    assert any(problem and message in problem for problem in problems)
