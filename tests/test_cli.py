"""The command line, as a person uses it: what it prints, what it refuses, and with which words."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from numpy_transformer.cli import main
from numpy_transformer.data.tasks import TASKS

FAST = [
    "--N", "1", "--d-model", "32", "--d-ff", "64", "--h", "2", "--steps", "250",
    "--evaluate-every", "250", "--batch-tokens", "600", "--lr", "5e-3", "--warmup", "20",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with pairs of words and their letters with spaces, and a model trained on them."""
    folder = tmp_path_factory.mktemp("cli")
    pairs = [pair for pair in TASKS["copy"].pairs(6000, 0, 0)[0] if len(pair[0]) <= 4]
    for name, pairs in (("train", pairs[60:]), ("valid", pairs[:60])):
        # Upper case at the end of a second answer: two right answers for a source.
        lines = [f"{s}\t{' '.join(t)}\n{s}\t{' '.join(t)} END\n" for s, t in pairs]
        (folder / f"{name}.tsv").write_text("".join(lines))
    data = ["--data", "train.tsv", "--valid", "valid.tsv", "--target-unit", "tokens"]
    status, output, _ = run(["train", *data, "--run", "run", *FAST], folder)
    assert status == 0, output
    (folder / "output").write_text(output)
    (folder / "foreign").mkdir()
    (folder / "foreign" / "metrics.jsonl").write_text("mine")
    return folder


def run(arguments, folder, stdin=""):
    """The command in a process of its own: exit status, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "numpy_transformer", *arguments],
        cwd=folder, input=stdin.encode() if isinstance(stdin, str) else stdin, capture_output=True,
        env=environment(),
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def environment():
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """The command in this process, which is quicker."""
    monkeypatch.chdir(folder)

    def call(*arguments, stdin=""):
        raw = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        try:
            status = main(list(arguments))
        except SystemExit as error:
            status = error.code
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


def test_training_says_how_well_it_went_and_what_to_do_next(folder):
    output = (folder / "output").read_text()
    assert "60 held-out sources" in output
    assert re.search(r"exact match +\d+\.\d\d%", output)
    assert output.count("  ->  ") >= 6
    for line in ("numpy-transformer predict --run run", "numpy-transformer gradcheck"):
        assert line in output


def test_evaluate_counts_every_reference_of_a_source(command):
    status, output, _ = command("evaluate", "--run", "run", "valid.tsv", "--json")
    found = json.loads(output)
    assert status == 0 and found["count"] == 60
    assert found["exact_match"] > 0.5
    # Without the second lines, answers with END are wrong.
    lines = Path("valid.tsv").read_text().splitlines(keepends=True)
    Path("first.tsv").write_text("".join(line for line in lines if "END" not in line))
    Path("second.tsv").write_text("".join(line for line in lines if "END" in line))
    parts = [
        json.loads(command("evaluate", "--run", "run", name, "--json")[1])["exact_match"]
        for name in ("first.tsv", "second.tsv")
    ]
    assert sum(parts) == pytest.approx(found["exact_match"])
    # Without a file: what the run held out.
    assert json.loads(command("evaluate", "--run", "run", "--json")[1]) == found


def test_evaluate_for_people(command):
    status, output, _ = command("evaluate", "--run", "run", "valid.tsv", "--beam", "3")
    assert status == 0
    assert re.search(r"exact match +\d+\.\d\d% +\(\d+ of 60 sources\)", output)
    assert "token error rate" in output


def test_predict_is_a_filter(command):
    lines = Path("valid.tsv").read_text().splitlines()
    sources = [line.split("\t")[0] for line in lines[:40:2]]
    stdin = "\n".join(sources) + "\n"
    status, output, error = command("predict", "--run", "run", stdin=stdin)
    assert (status, error) == (0, "")
    answers = output.splitlines()
    assert len(answers) == 20
    right = sum(a.split()[: len(s)] == list(s) for s, a in zip(sources, answers))
    assert right > 10
    Path("sources.txt").write_text(stdin)
    assert command("predict", "--run", "run", "sources.txt")[1] == output
    assert command("predict", "--run", "run", "--lines", "3", stdin=stdin)[1] == output


@pytest.mark.parametrize("beam", ["1", "4"])
def test_scores_stand_before_the_answers(command, beam):
    _, output, _ = command("predict", "--run", "run", "--scores", "--beam", beam, stdin="abc\nb\n")
    for line in output.splitlines():
        score, answer = line.split("\t")
        assert float(score) <= 0 and answer


def test_an_empty_line_gets_an_empty_answer(command):
    _, output, _ = command("predict", "--run", "run", "--scores", stdin="abc\n\nabc\n")
    first, second, third = output.splitlines()
    assert (first, second) == (third, "")


def test_an_unknown_character_is_read_as_unk_with_one_warning(command):
    status, output, error = command("predict", "--run", "run", stdin="abc\nab?\n!!!\n")
    assert status == 0 and len(output.splitlines()) == 3
    assert error.count("warning") == 1
    assert "line 2: '?' is unknown to the model and read as <unk>" in error


def test_a_source_that_is_too_long_is_refused_with_its_line(command):
    status, _, error = command("predict", "--run", "run", stdin="abc\n" + "a" * 500 + "\n")
    assert status == 2
    assert re.search(r"line 2: 500 characters, but the model takes at most \d+; shorten it", error)


def test_input_that_is_not_utf_8_is_refused(command):
    status, _, error = command("predict", "--run", "run", stdin=b"abc\n\xff\xfe\n")
    assert status == 2 and "not UTF-8" in error


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["predict", "--run", "none"], "there is no folder none; 'numpy-transformer train' and 'train-lm' make"),
        (["evaluate", "--run", "."], r"\. holds no checkpoint \(checkpoints.json is missing\)"),
        (["evaluate", "--run", "run", "none.tsv"], "none.tsv cannot be read: No such file"),
        (["train", "--data", "none.tsv"], "none.tsv cannot be read: No such file"),
        (["train", "--resume", "none"], "there is no folder none"),
        (["train", "--resume", "run", "--lr", "1"], "all settings from the run; leave out --lr"),
        (["train", "--run", "run"], r"run holds a run already\. Go on with it \(--resume run\)"),
        (["train", "--run", "run/step-00000250"], "exists and is not a run"),
        (["train", "--task", "copy", "--data", "train.tsv"], "--task or --data, not both"),
        (["train", "--valid", "valid.tsv"], "--valid goes with --data"),
        (["train", "--data", "train.tsv", "--pairs", "9"], "--pairs goes with a built-in task"),
        (["train", "--source-unit", "tokens"], "--source-unit goes with --data"),
        (["train", "--seed", "-1"], "--seed is -1, expected at least 0"),
        (["train", "--clip", "nan"], "clip is nan, expected at least 0"),
        (["train", "--run", "foreign", "--overwrite"], "foreign exists and is not a run"),
        (["predict", "--run", "run", "--length-penalty", "nan"], "--length-penalty is nan"),
        (["predict", "--run", "run", "--lines", "0"], "--lines is 0, expected at least 1"),
        (["train", "--h", "5"], "h=5 heads do not divide d_model=64"),
        (["train", "--dropout", "1.5"], "P_drop=1.5, expected at least 0 and below 1"),
        (["train", "--lr", "0"], "lr is 0.0, expected above 0"),
        (["train", "--steps", "0"], "steps is 0, expected at least 1"),
        (["train", "--schedule", "linear"], "no schedule 'linear', expected one of"),
        (["train", "--norm", "both"], r"norm='both', expected one of \('pre', 'post'\)"),
        (["train", "--max-length", "4"], r"--max-length is 4, but the longest sequence .* has \d+"),
        (["train", "--preset", "huge"], "no preset 'huge', expected one of tiny, base"),
        (["train", "--data", "train.tsv", "--held-out", "0"], "holds out 0"),
        (["predict", "--run", "run", "--beam", "0"], "--beam is 0, expected at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_refused_with_a_sentence(command, arguments, message):
    status, output, error = command(*arguments)
    assert status == 2
    assert error.startswith("numpy-transformer: ")
    assert re.search(message, error), error
    assert error.count("\n") == 1


def test_malformed_pairs_are_named_with_file_and_line(command, folder):
    (folder / "bad.tsv").write_text("ab\tA B\nab A\n")
    status, _, error = command("train", "--data", "bad.tsv")
    assert status == 2
    assert "bad.tsv, line 2: 0 tabs, expected 1 (source, tab, target)" in error
    (folder / "empty.tsv").write_text("")
    assert "empty.tsv holds no pairs" in command("train", "--data", "empty.tsv")[2]
    # Nothing was made.
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("name", ["weights.npz", "settings.json", "source_vocabulary.json"])
def test_a_damaged_checkpoint_is_refused(command, folder, name):
    copy = folder / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "run", copy)
    path = copy / "step-00000250" / name
    path.write_bytes(path.read_bytes()[:50])
    status, _, error = command("predict", "--run", "damaged", stdin="abc\n")
    assert status == 2 and f"{name} is damaged" in error and "train again" in error


def test_weights_of_another_shape_are_refused(command, folder):
    copy = folder / "other"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "run", copy)
    path = copy / "step-00000250" / "settings.json"
    settings = json.loads(path.read_text())
    settings["model"]["d_ff"] = 65
    path.write_text(json.dumps(settings))
    status, _, error = command("predict", "--run", "other", stdin="abc\n")
    assert status == 2
    assert "feed_forward.hidden.weight is (32, 64), expected (32, 65)" in error


def test_a_run_whose_data_has_changed_is_not_taken_up_again(command, folder):
    for name in ("train.tsv", "valid.tsv"):
        shutil.copy(folder / name, folder / f"copy-{name}")
    data = ["--data", "copy-train.tsv", "--valid", "copy-valid.tsv"]
    assert command("train", *data, "--run", "changed", *FAST, "--steps", "2")[0] == 0
    with open("copy-train.tsv", "a") as file:
        file.write("zz\tz z\n")
    status, _, error = command("train", "--resume", "changed")
    assert status == 2 and "its content has changed" in error


def test_overwrite_replaces_a_run(command, folder):
    data = ["--task", "copy", "--pairs", "100", "--run", "twice", *FAST, "--steps", "2"]
    assert command("train", *data)[0] == 0
    assert command("train", *data)[0] == 2
    (folder / "twice" / "notes.txt").write_text("mine")
    (folder / "twice" / "step-notes").mkdir()
    # Refused before anything is removed.
    assert command("train", *data, "--overwrite", "--batch-tokens", "0")[0] == 2
    assert (folder / "twice" / "checkpoints.json").exists()
    assert command("train", *data, "--overwrite", "--seed", "1")[0] == 0
    # What a run did not make stays.
    assert (folder / "twice" / "notes.txt").exists() and (folder / "twice" / "step-notes").exists()


@pytest.mark.parametrize("task", [task for task in TASKS if task != "copy"])
def test_every_built_in_task_can_be_trained(command, task):
    arguments = ["--task", task, "--pairs", "100", "--run", f"task-{task}"]
    status, output, _ = command("train", *arguments, *FAST, "--steps", "2")
    assert status == 0 and "1,000 held-out sources" in output


def test_evaluate_warns_of_unknown_characters(command):
    Path("unknown.tsv").write_text("a?\ta\n")
    _, output, error = command("evaluate", "--run", "run", "unknown.tsv")
    assert "exact match" in output and "read as <unk>: '?'" in error


def test_settings_without_data_are_refused(command, folder):
    shutil.copytree(folder / "run", folder / "nodata")
    path = folder / "nodata" / "step-00000250" / "settings.json"
    settings = json.loads(path.read_text())
    settings["data"] = {}
    path.write_text(json.dumps(settings))
    status, _, error = command("evaluate", "--run", "nodata")
    assert status == 2 and "the settings do not describe any data" in error


@pytest.mark.parametrize("name", ["train", "predict", "evaluate", "gradcheck"])
def test_every_option_has_help(command, name):
    status, output, _ = command(name, "--help")
    assert status == 0
    options = re.split(r"\n  (?=-|\w)", output.partition("options:")[2])
    for option in options:
        # An option, then at least three words on what it does.
        text = re.sub(r"^(-\S+,? ?([A-Z]+|\{.*?\})?,? ?)+", "", option.strip())
        assert not option.strip().startswith("-") or len(text.split()) >= 3, option


def test_it_runs_as_a_module_and_a_closed_pipe_is_no_error(folder):
    status, output, _ = run(["--version"], folder)
    assert status == 0 and re.fullmatch(r"\d+\.\d+\.\d+\n", output)
    lines = "abc\n" * 3000
    (folder / "many.txt").write_text(lines)
    shell = f"{sys.executable} -m numpy_transformer predict --run run --lines 10 many.txt | head -1"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=folder, capture_output=True, text=True, env=environment()
    )
    assert done.stdout.count("\n") == 1 and done.stderr == ""
