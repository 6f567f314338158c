"""The benchmark runs where PyTorch is not installed, too. What it measures is not tested."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_benchmark_prints_a_row():
    script = ROOT / "benchmarks" / "train_step.py"
    quick = ["--shapes", "1", "--threads", "1", "--dropout", "0.1", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, script, *quick],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    assert "ratio" in header
    assert re.match(r"D 32, F 128, 1\+1, V 64, B 8, T 12 +1 +0\.1 +(-|\d+\.\d\d) +\d+\.\d", row)
