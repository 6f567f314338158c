"""Write a model as a GPT-2 or a BERT checkpoint, as Hugging Face's transformers read it.

  numpy-transformer export --run runs/book --to book-gpt2
  numpy-transformer generate --model book-gpt2 --prompt "Once upon a time"
  numpy-transformer export --run runs/library --to my-bert

The folder gets config.json, model.safetensors, and vocab.json and merges.txt of a language model
of 'train-lm', or vocab.txt and tokenizer_config.json of a model of 'pretrain' or 'finetune'. A BERT
has its norms behind its layers and takes the first token for the text: train with --norm post, and
fine-tune with --pooling first.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from numpy_transformer.data.tokenizers import ByteLevelBPE, WordPiece
from numpy_transformer.pipelines import encoder_model, kinds, language_model
from numpy_transformer.porting import bert, gpt2

DTYPES = ("float16", "float32", "float64")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--run", required=True, metavar="FOLDER", help="a run; its best checkpoint"
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
    kind = kinds.found(Path(options.run))
    if kind in encoder_model.KINDS:
        _bert(options, folder)
        return 0
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


def _bert(options: argparse.Namespace, folder: Path) -> None:
    """Write an encoder-only model."""
    model = encoder_model.load(options.run)
    if not isinstance(model.tokenizer, WordPiece):
        raise ValueError(
            "the tokens of this model are no pieces of words, and a BERT checkpoint has files for "
            "these alone; pre-train with --tokenizer wordpiece"
        )
    bert.write(folder, model.kind, model.params, model.config, model.labels, options.dtype)
    model.tokenizer.write(folder)
    task = {"masked_lm": "fill-mask", "classifier": "text-classification"}.get(model.kind)
    print(f"written: {folder}; use it, in Python:")
    print(f"  numpy_transformer.pipeline({task!r}, model={str(folder)!r})")
