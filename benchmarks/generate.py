"""Text generation beside Hugging Face: a model of GPT-2's shape goes on with prompts.

    python benchmarks/generate.py                        batch 1 and 8, one and two threads
    python benchmarks/generate.py --batch 1 --threads 1  one row
    python benchmarks/generate.py --preset gpt2-medium   a larger model
    python benchmarks/generate.py --rounds 3             quicker, and noisier

Both sides load the same checkpoint, which is made for this with random weights (``porting/gpt2.py``
writes it; 500 MB for GPT-2, in a temporary folder), and go on greedily with the same prompts of 64
tokens by 64 tokens, in float32, with keys and values kept. Hugging Face's ``transformers`` runs
eagerly in PyTorch. Each side has a process of its own; they take turns, and the one whose turn it
is not sleeps. The ids that they choose are compared. Without ``transformers`` only the times of this
project are printed.

The columns: tokens a second, of all rows of the batch together and with the reading of the prompt;
the ratio, ours divided by theirs (above 1: faster than Hugging Face); the most memory that each
process takes beyond what its imports take, the weights included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMPT, NEW = 64, 64  # tokens


def write_checkpoint(preset: str, folder: str) -> None:
    """A checkpoint with random weights of GPT-2's initial size."""
    import numpy as np

    from numpy_transformer.models import causal_lm
    from numpy_transformer.porting import gpt2

    config = causal_lm.preset(preset, vocab=50257)
    gpt2.write(folder, causal_lm.init(np.random.default_rng(0), config), config)


def prompts(batch: int):
    """Random ids, ``(B, T)``."""
    import numpy as np

    return np.random.default_rng(1).integers(0, 50257, (batch, PROMPT))


def ours(folder: str, batch: int, threads: int):
    """A function that generates with this project, and returns the new ids of each row."""
    from numpy_transformer.generation import continuation
    from numpy_transformer.porting import gpt2
    from numpy_transformer.training.memory import keep_freed_memory

    keep_freed_memory()
    params, config = gpt2.read(folder)
    settings = continuation.Settings(max_new_tokens=NEW, do_sample=False)
    ids = prompts(batch).tolist()

    def generate():
        found = [[] for _ in ids]
        for row, token in continuation.generate(ids, params, config, settings, rngs=[]):
            found[row].append(token)
        return found

    return generate


def theirs(folder: str, batch: int, threads: int):
    """A function that generates with Hugging Face's transformers."""
    import torch
    from transformers import GPT2LMHeadModel

    torch.set_num_threads(threads)
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.from_numpy(prompts(batch))
    settings = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False}
    settings |= {"use_cache": True, "pad_token_id": 0, "attention_mask": torch.ones_like(ids)}

    def generate():
        with torch.inference_mode():
            return model.generate(ids, **settings)[:, PROMPT:].tolist()

    return generate


def work(side: str, folder: str, batch: int, threads: int) -> None:
    """Be one side: for each line that comes in, generate once, and say how long it took."""
    import resource

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    if side == "ours":
        import numpy_transformer.generation.continuation  # noqa: F401
        import numpy_transformer.porting.gpt2  # noqa: F401
    else:
        import transformers

        transformers.GPT2LMHeadModel  # noqa: B018  (its import takes place here)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
    before = peak()
    generate = {"ours": ours, "theirs": theirs}[side](folder, batch, threads)
    for _ in sys.stdin:
        start = time.perf_counter()
        ids = generate()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "ids": ids, "memory": peak() - before}), flush=True)


class Side:
    """One side in a process of its own, as threads can be set only before the start."""

    def __init__(self, side: str, folder: str, batch: int, threads: int) -> None:
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--work", json.dumps([side, folder, batch, threads])],
            env=os.environ | dict.fromkeys(names, str(threads)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def generate(self) -> dict:
        """Generate once."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"one side ended with status {self.process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def measure(folder: str, batch: int, threads: int, rounds: int, names: list[str]) -> dict:
    """Take turns; the answers of each side, the first of which only warms up."""
    sides = {name: Side(name, folder, batch, threads) for name in names}
    answers = {name: [] for name in names}
    for _ in range(rounds + 1):
        for name, side in sides.items():
            answers[name].append(side.generate())
    for side in sides.values():
        side.close()
    return answers


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="gpt2")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--write", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*json.loads(options.work))
        return
    if options.write:
        write_checkpoint(options.preset, options.write)
        return
    names = ["ours"]
    if not subprocess.run([sys.executable, "-c", "import torch, transformers"],
                          capture_output=True).returncode:  # fmt: skip
        names.append("theirs")
    print("batch threads  tokens/s  Hugging Face  ratio  same ids  memory MB")
    with tempfile.TemporaryDirectory() as parent:
        folder = str(Path(parent) / "model")
        # In a process of its own: the peak memory of a process is handed down to its children.
        writing = [sys.executable, __file__, "--write", folder, "--preset", options.preset]
        subprocess.run(writing, check=True)
        for batch in options.batch:
            for threads in options.threads:
                answers = measure(folder, batch, threads, options.rounds, names)
                speed = {
                    name: batch * NEW / statistics.median(a["seconds"] for a in found[1:])
                    for name, found in answers.items()
                }
                memory = " / ".join(f"{answers[name][-1]['memory']:.0f}" for name in names)
                row = f"{batch:5} {threads:7} {speed['ours']:9.1f}"
                if "theirs" in answers:
                    same = [
                        a == b
                        for a, b in zip(answers["ours"][-1]["ids"], answers["theirs"][-1]["ids"])
                    ]
                    ratio = speed["ours"] / speed["theirs"]
                    row += f" {speed['theirs']:13.1f} {ratio:6.2f} {sum(same)} of {len(same):<3}"
                else:
                    row += f" {'-':>13} {'-':>6} {'-':<8}"
                print(f"{row}  {memory}", flush=True)


if __name__ == "__main__":
    main()
