"""Options that the commands share which use a trained model."""

from __future__ import annotations

import argparse


def add_run_option(parser: argparse.ArgumentParser) -> None:
    """``--run``, for commands that use a trained model."""
    parser.add_argument(
        "--run",
        default="runs/dates",
        metavar="FOLDER",
        help="the folder of a run, as 'train' makes it (%(default)s); its best checkpoint is used",
    )


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """``--beam`` and ``--length-penalty``."""
    parser.add_argument(
        "--beam",
        type=int,
        default=1,
        metavar="WIDTH",
        help="beginnings kept at each step; 1 is greedy search, more is slower and often a "
        "little better (%(default)s)",
    )
    parser.add_argument(
        "--length-penalty",
        type=float,
        default=0.6,
        metavar="ALPHA",
        help="beam search divides log probabilities by ((5 + length) / 6)^ALPHA; 0: no penalty, "
        "more favours longer answers (%(default)s)",
    )


def check_search_options(options: argparse.Namespace) -> None:
    """Refuse a beam that is none."""
    if options.beam < 1:
        raise ValueError(f"--beam is {options.beam}, expected at least 1")
    if not options.length_penalty >= 0:
        raise ValueError(f"--length-penalty is {options.length_penalty}, expected at least 0")
