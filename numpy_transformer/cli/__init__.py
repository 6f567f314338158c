"""The command line: one file a command."""

from __future__ import annotations

import argparse
import os
import sys
import warnings

from numpy_transformer import __version__
from numpy_transformer.training.memory import keep_freed_memory

DESCRIPTION = """\
A Transformer in pure NumPy: train it, use it, and check every gradient in it.

  numpy-transformer train                 learn to read dates, in about a minute
  numpy-transformer predict --run runs/dates
  numpy-transformer generate --prompt "The print function"
  numpy-transformer gradcheck             prove every backward pass
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status.

    0: done; 1: a gradient is wrong; 2: refused, with a sentence; 130: stopped by Ctrl-C.
    """
    from numpy_transformer.cli import (
        evaluate,
        export,
        finetune,
        generate,
        gradcheck,
        predict,
        pretrain,
        train,
        train_lm,
    )

    parser = argparse.ArgumentParser(
        prog="numpy-transformer",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    all_commands = (train, predict, evaluate, train_lm, generate, pretrain, finetune, export)
    for command in (*all_commands, gradcheck):
        name = command.__name__.rpartition(".")[2].replace("_", "-")
        summary, _, details = command.__doc__.partition("\n")
        subparser = commands.add_parser(
            name,
            help=summary,
            description=summary + "\n" + details,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_options(subparser)
        subparser.set_defaults(run_command=command.run)
    options = parser.parse_args(arguments)
    keep_freed_memory()
    _prepare_streams()
    try:
        for name, value in vars(options).items():
            if value == "" and name != "prompt":
                raise ValueError(f"--{name.replace('_', '-')} is empty")
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return options.run_command(options)
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, ArithmeticError, OSError) as error:
        print(f"numpy-transformer: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"numpy-transformer: too large for this machine: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nnumpy-transformer: stopped", file=sys.stderr)
        return 130


def _prepare_streams() -> None:
    """Write what an encoding lacks as '?', and nothing where there is no stream."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _show_warning(message, *arguments, **keywords) -> None:
    """A warning as a sentence, without the place in the code that it comes from."""
    print(f"numpy-transformer: warning: {message}", file=sys.stderr)
