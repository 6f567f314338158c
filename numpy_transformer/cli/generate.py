"""Let a language model go on with a text.

  numpy-transformer generate --prompt "The print function"
  numpy-transformer generate --model path/to/gpt2 --prompt "Once upon a time" --seed 1
  numpy-transformer generate --run runs/book --greedy --max-new-tokens 100 < beginning.txt

The text is written as it comes, the prompt first. Without --model or --run the small model in the
package is used, which has read the documentation of Python and knows nothing else.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields

from numpy_transformer.generation.continuation import MAX_NEW_TOKENS, OVERFLOWS, Settings
from numpy_transformer.pipelines import pipeline

# Flag, type, setting, help.
SETTINGS = [
    ("--max-new-tokens", int, "max_new_tokens", f"the most tokens to add ({MAX_NEW_TOKENS})"),
    ("--max-length", int, "max_length", "the most tokens in all, instead"),
    ("--min-new-tokens", int, "min_new_tokens", "not to end before this many are added"),
    ("--min-length", int, "min_length", "not to end before there are this many in all"),
    ("--temperature", float, "temperature", "below 1 more likely text, above 1 less likely"),
    ("--top-k", int, "top_k", "draw from this many of the likeliest tokens; 0: from all"),
    ("--top-p", float, "top_p", "draw from the likeliest that have this probability together"),
    ("--repetition-penalty", float, "repetition_penalty", "above 1: repeats itself less"),
]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument(
        "--model",
        "--run",
        metavar="FOLDER",
        help="a GPT-2 checkpoint as Hugging Face lays it out, or a run of 'train-lm', of which the "
        "best checkpoint is used (default: the small model in the package)",
    )
    parser.add_argument(
        "--prompt", metavar="TEXT", help="the text to go on with (default: standard input)"
    )
    defaults = {field.name: field.default for field in fields(Settings)}
    names = {int: "N", float: "X"}
    for flag, kind, field, text in SETTINGS:
        default = f" ({defaults[field]})" if defaults[field] is not None else ""
        parser.add_argument(flag, type=kind, dest=field, metavar=names[kind], help=text + default)
    parser.add_argument(
        "--greedy", action="store_true", help="always the likeliest token, nothing drawn"
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end with this; may be repeated"
    )
    parser.add_argument(
        "--overflow",
        choices=OVERFLOWS,
        help="where the text outgrows what the model can look at: let the older half of that slide "
        f"out of view, or refuse ({defaults['overflow']})",
    )
    parser.add_argument("--samples", type=int, default=1, metavar="N", help="write N texts (1)")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="the same seed, the same text (default: another)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the prompt and what follows it."""
    if options.samples < 1:
        raise ValueError(f"--samples is {options.samples}, expected at least 1")
    if options.seed is not None and options.seed < 0:
        raise ValueError(f"--seed is {options.seed}, expected at least 0")
    settings = {field: getattr(options, field) for _, _, field, _ in SETTINGS}
    settings |= {"overflow": options.overflow, "do_sample": False if options.greedy else None}
    settings = {name: value for name, value in settings.items() if value is not None}
    Settings(**settings)  # refused before a model is loaded
    prompt = _standard_input() if options.prompt is None else options.prompt
    generator = pipeline("text-generation", model=options.model)
    if options.samples > 1:
        texts = generator(
            prompt,
            num_return_sequences=options.samples,
            stop_strings=options.stop,
            seed=options.seed,
            **settings,
        )
        for number, text in enumerate(texts, 1):
            print(f"--- {number}\n{text['generated_text']}")
        return 0
    pieces = generator.stream(prompt, stop_strings=options.stop, seed=options.seed, **settings)
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()
    return 0


def _standard_input() -> str:
    """All of the standard input, without the line break at its end."""
    if sys.stdin is None:
        raise ValueError("there is no standard input; give --prompt")
    if sys.stdin.isatty():
        print("the text to go on with, then Ctrl-D:", file=sys.stderr)
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
        return text.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise ValueError(f"the standard input is not UTF-8 ({error.reason})") from error
