"""Write a language model as a GPT-2 checkpoint, as Hugging Face's transformers read it.

  numpy-transformer export --run runs/book --to book-gpt2
  numpy-transformer generate --model book-gpt2 --prompt "Once upon a time"

The folder gets config.json, model.safetensors, vocab.json and merges.txt.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from numpy_transformer.data.tokenizers import ByteLevelBPE
from numpy_transformer.pipelines import language_model
from numpy_transformer.porting import gpt2

DTYPES = ("float16", "float32", "float64")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--run", required=True, metavar="FOLDER", help="a run of 'train-lm'; its best checkpoint"
    )
    parser.add_argument("--to", required=True, metavar="FOLDER", help="the folder to make")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="of the weights in the file; float16 takes half the space (default: the run's own)",
    )


def run(options: argparse.Namespace) -> int:
    """Load the run and write the folder."""
    folder = Path(options.to)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists already; choose another folder with --to")
    model = language_model.load(options.run)
    if not isinstance(model.tokenizer, ByteLevelBPE):
        raise ValueError(
            "the tokens of this model are characters, for which a GPT-2 checkpoint has no files; "
            "train with --tokenizer bpe"
        )
    gpt2.write(
        folder,
        model.params,
        model.config,
        dtype=options.dtype,
        end_of_text=model.tokenizer.end_of_text,
    )
    model.tokenizer.write(folder)
    print(f"written: {folder}; use it:")
    print(f"  numpy-transformer generate --model {shlex.quote(str(folder))} --prompt TEXT")
    return 0
