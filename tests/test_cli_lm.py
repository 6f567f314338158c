"""The commands for language models: train-lm, generate, export, as a person uses them."""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from numpy_transformer.cli import main
from numpy_transformer.data.tasks import TASKS
from numpy_transformer.data.text import documentation
from numpy_transformer.data.tokenizers import ByteLevelBPE
from numpy_transformer.models import causal_lm
from numpy_transformer.pipelines import language_model
from numpy_transformer.training import checkpoint

SMALL = [
    "--preset", "nano", "--d-model", "16", "--d-ff", "32", "--h", "2", "--context", "16",
    "--dropout", "0.1", "--batch-size", "4", "--steps", "60", "--evaluate-every", "10",
    "--warmup", "5", "--lr", "1e-2",
]  # fmt: skip
LINES = [f"{a} = {b}, said the {c}.\n" for a, b in TASKS["addition"].pairs(300, 0, 0)[0]
         for c in ("cat", "dög")]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a text, and two runs on it."""
    folder = tmp_path_factory.mktemp("lm")
    (folder / "sums.txt").write_text("".join(LINES), encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        text = ["train-lm", "--text", "sums.txt"]
        assert main([*text, *SMALL, "--vocab-size", "300", "--run", "bpe"]) == 0
        assert main([*text, *SMALL, "--tokenizer", "characters", "--run", "characters"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """The command in this process: its status, what it prints, and what it says of errors."""
    monkeypatch.chdir(folder)
    capsys.readouterr()

    def run(*arguments):
        status = main(list(arguments))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def metrics(run):
    return [json.loads(line) for line in (run / checkpoint.METRICS).read_text().splitlines()]


def test_training_says_how_it_goes_and_what_to_do_next(command):
    status, output, error = command("train-lm", "--text", "sums.txt", *SMALL, "--run", "again",
                                    "--vocab-size", "300", "--overwrite")  # fmt: skip
    assert status == 0
    assert re.search(r"[\d,]+ tokens to train on \([\d,]+ characters, 300 different tok", error)
    for name in ("loss per token", "bits per byte", "perplexity"):
        assert re.search(rf"step 10: held out: .*{name} \d+\.\d+", error)
    assert error.count("  | ") >= 6  # a sample at each evaluation
    assert re.search(r"loss +\d+\.\d+ nats a token\n +\d+\.\d+ bits a byte\n +perplexity", output)
    assert "numpy-transformer generate --run again --prompt" in output
    assert "numpy-transformer export --run again --to FOLDER" in output


def test_it_learns_and_the_three_measures_agree(folder):
    for run in ("bpe", "characters"):
        judged = [line for line in metrics(folder / run) if "loss_per_token" in line]
        assert [line["step"] for line in judged] == [10, 20, 30, 40, 50, 60]
        assert judged[-1]["loss_per_token"] < 0.9 * judged[0]["loss_per_token"]
        for line in judged:
            assert line["perplexity"] == pytest.approx(np.exp(line["loss_per_token"]))
    text = "".join(LINES)
    held_out = text[len(text) - round(0.1 * len(text)) :]
    last = [line for line in metrics(folder / "characters") if "bits_per_byte" in line][-1]
    # Every character but the first is predicted.
    nats = last["loss_per_token"] * (len(held_out) - 1)
    assert last["bits_per_byte"] == pytest.approx(nats / np.log(2) / len(held_out[1:].encode()))


def test_the_loss_is_that_of_every_token_that_was_held_out(folder):
    """Each token but the first is predicted once, from no more than the context before it."""
    saved = checkpoint.load(folder / "characters", "last", optimizer=False)
    params, config, tokenizer = language_model.model_of(saved)
    text = "".join(LINES)
    ids = tokenizer.encode(text[len(text) - round(0.1 * len(text)) :])
    total = 0.0
    for start in range(0, len(ids) - 1, config.max_length):
        window = np.array([ids[start : start + config.max_length + 1]])
        logits, _ = causal_lm.forward(window[:, :-1], params, config)
        logits = logits[0].astype(float)
        chosen = logits[np.arange(len(logits)), window[0, 1:]]
        total += (np.log(np.exp(logits).sum(axis=-1)) - chosen).sum()
    expected = metrics(folder / "characters")[-1]["loss_per_token"]
    assert total / (len(ids) - 1) == pytest.approx(expected, rel=1e-5)


def test_what_is_held_out_is_not_trained_on(folder):
    settings = checkpoint.load(folder / "bpe", "last").settings
    assert settings["kind"] == "causal_lm" and settings["data"]["held_out"] == 0.1
    assert settings["training"]["batch_tokens"] == 4 * 16


def start(*arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-m", "numpy_transformer", *arguments],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def test_killed_and_stopped_it_goes_on_and_ends_with_the_same_bits(folder):
    rng = random.Random(0)
    arguments = ["train-lm", "--text", "sums.txt", *SMALL, "--vocab-size", "300", "--run", "killed"]
    index = folder / "killed" / checkpoint.INDEX
    for last, end in (("step-00000000", signal.SIGKILL), ("step-00000020", signal.SIGINT)):
        process = start(*arguments, cwd=folder)
        while not (index.exists() and json.loads(index.read_text()).get("last", "") >= last):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(end)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == (-end if end == signal.SIGKILL else 130), output
        arguments = ["train-lm", "--resume", "killed"]
    assert "go on with:\n  numpy-transformer train-lm --resume killed" in output
    process = start(*arguments, cwd=folder)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    first, second = (checkpoint.load(folder / run, "last") for run in ("bpe", "killed"))
    for a, b in ((first.weights, second.weights), (first.optimizer, second.optimizer)):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].tobytes() == b[name].tobytes(), name
    # The loss in a line is a mean since the line before, and begins anew where a run goes on.
    timed = ("seconds", "tokens_per_second", "loss")
    lines = [
        [{k: v for k, v in line.items() if k not in timed} for line in metrics(folder / run)]
        for run in ("bpe", "killed")
    ]
    assert lines[0] == lines[1]


def test_the_documentation_of_python_is_there_and_says_nothing_twice():
    texts = documentation()
    whole = "\n\n".join(texts)
    assert len(whole) > 250_000
    for i, text in enumerate(texts):
        others = set("\n\n".join(texts[:i]).split("\n\n"))
        assert not others & set(text.split("\n\n"))


def test_without_a_file_the_text_is_the_documentation(command, tmp_path):
    status, _, error = command(
        "train-lm", *SMALL, "--steps", "1", "--run", str(tmp_path / "run"), "--vocab-size", "300"
    )
    assert status == 0
    model = language_model.load(tmp_path / "run")
    assert model.tokenizer.end_of_text == 299  # it stands between the topics
    data = checkpoint.load(tmp_path / "run", "last").settings["data"]
    assert data["text"] is None and data["separator"] == "<|endoftext|>"


# generate


def test_generate_writes_the_prompt_and_what_follows(command):
    arguments = ["generate", "--run", "bpe", "--prompt", "12+3 =", "--seed", "1"]
    status, output, error = command(*arguments, "--max-new-tokens", "8")
    assert status == 0 and error == ""
    assert output.startswith("12+3 =") and len(output) > len("12+3 =\n")
    assert command(*arguments, "--max-new-tokens", "8")[1] == output
    arguments[-1] = "2"
    assert command(*arguments, "--max-new-tokens", "8")[1] != output


def test_generate_reads_the_standard_input(command, monkeypatch):
    class Input:
        buffer = io.BytesIO("12+3 = dög\n".encode())
        isatty = staticmethod(lambda: False)

    monkeypatch.setattr(sys, "stdin", Input)
    status, output, _ = command("generate", "--run", "bpe", "--greedy", "--max-new-tokens", "4")
    assert status == 0 and output.startswith("12+3 = dög")


def test_generate_writes_several_texts(command):
    status, output, _ = command(
        "generate", "--run", "characters", "--prompt", "1", "--samples", "3", "--seed", "0",
        "--max-new-tokens", "5",
    )  # fmt: skip
    assert status == 0
    assert [line for line in output.splitlines() if line.startswith("---")] == [
        "--- 1", "--- 2", "--- 3",
    ]  # fmt: skip


def test_generate_stops_at_a_string(command):
    status, output, _ = command(
        "generate", "--run", "characters", "--prompt", "1", "--seed", "0", "--stop", "a",
        "--stop", "i", "--temperature", "1",
    )  # fmt: skip
    assert status == 0 and output.rstrip("\n")[-1] in "ai" and not re.search("[ai].", output)


def test_text_is_written_as_it_comes(folder):
    """The first piece is there before the last is made."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "numpy_transformer", "generate", "--run", "characters",
         "--prompt", "1+1", "--max-new-tokens", "1000000"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout.read(50).startswith(b"1+1")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error.decode() == "\nnumpy-transformer: stopped\n"


# export


def test_export_makes_a_gpt2_folder_that_says_the_same(command, tmp_path):
    status, output, _ = command("export", "--run", "bpe", "--to", str(tmp_path / "gpt2"))
    assert status == 0 and f"numpy-transformer generate --model {tmp_path / 'gpt2'}" in output
    names = {path.name for path in (tmp_path / "gpt2").iterdir()}
    assert {"config.json", "model.safetensors", "vocab.json", "merges.txt"} <= names
    prompt = ["--prompt", "12+3 =", "--seed", "1", "--max-new-tokens", "30"]
    _, from_run, _ = command("generate", "--run", "bpe", *prompt)
    _, from_folder, _ = command("generate", "--model", str(tmp_path / "gpt2"), *prompt)
    assert from_run == from_folder
    assert isinstance(language_model.load(tmp_path / "gpt2").tokenizer, ByteLevelBPE)


def test_export_in_half_the_space(command, tmp_path):
    for dtype in ("float32", "float16"):
        to = tmp_path / dtype
        assert command("export", "--run", "bpe", "--to", str(to), "--dtype", dtype)[0] == 0
    sizes = [(tmp_path / d / "model.safetensors").stat().st_size for d in ("float32", "float16")]
    assert 1.5 < sizes[0] / sizes[1] < 2


# What is refused


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["train-lm", "--text", "none.txt"], "none.txt cannot be read: No such file"),
        (["train-lm", "--text", "latin1.txt"], "latin1.txt, line 2: not UTF-8"),
        (["train-lm", "--text", "empty.txt"], "empty.txt is empty; expected text"),
        (["train-lm", "--text", "short.txt", "--tokenizer", "characters"], "give a longer text or"),
        (["train-lm", "--preset", "huge"], "no preset 'huge', expected one of nano, char, gpt2"),
        (["train-lm", "--h", "5"], "h=5 heads do not divide d_model=128"),
        (["train-lm", "--tokenizer", "words"], "--tokenizer is 'words', expected 'characters', 'bpe', or a folder"),
        (["train-lm", "--tokenizer", "characters", "--vocab-size", "300"], "--vocab-size goes"),
        (["train-lm", "--vocab-size", "12"], "257"),
        (["train-lm", "--batch-size", "0"], "--batch-size is 0, expected at least 1"),
        (["train-lm", "--held-out", "1"], "share to hold out is 1.0"),
        (["train-lm", "--seed", "-1"], "--seed is -1"),
        (["train-lm", "--run", "bpe"], "bpe holds a run already"),
        (["train-lm", "--run", "."], ". exists and is not a run"),
        (["train-lm", "--resume", "bpe", "--context", "3"], "leave out --context"),
        (["train-lm", "--resume", "none"], "there is no folder none"),
        (["train-lm", "--resume", "pairs"], "this run holds no language model"),
        (["train", "--resume", "bpe"], "this run holds a language model"),
        (["predict", "--run", "bpe"], "this run holds a language model; use 'numpy-transformer gen"),
        (["generate", "--run", "pairs", "--prompt", "a"], "pairs holds an encoder-decoder, which is"),
        (["generate", "--run", "none", "--prompt", "a"], "none is no folder with a language model"),
        (["generate", "--run", "bpe", "--prompt", "a", "--temperature", "0"], "do_sample=False"),
        (["generate", "--run", "characters", "--prompt", "é"], "the character 'é'"),
        (["generate", "--run", "bpe", "--prompt", "a", "--samples", "0"], "--samples is 0"),
        (["generate", "--run", "bpe", "--prompt", "1" * 40, "--overflow", "refuse"], "looks at 16"),
        (["train-lm", "--held-out", "nan"], "share to hold out is nan, expected above 0 and below"),
        (["train-lm", "--lr", "inf"], "lr is inf"),
        (["train-lm", "--resume", ""], "--resume is empty"),
        (["generate", "--model", "", "--prompt", "a"], "--model is empty"),
        (["generate", "--run", "bpe", "--prompt", "a", "--min-length", "9", "--max-length", "5"],
         "at least 9 tokens, but at most 5"),
        (["export", "--run", "characters", "--to", "x"], "train with --tokenizer bpe"),
        (["export", "--run", "bpe", "--to", "bpe"], "bpe exists already; choose another folder"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_with_a_sentence(command, folder, arguments, sentence):
    (folder / "latin1.txt").write_bytes("one\ntwo \xe9\n".encode("latin-1"))
    (folder / "empty.txt").write_text("")
    (folder / "short.txt").write_text("abc" * 10)
    if "pairs" in arguments and not (folder / "pairs").exists():
        command("train", "--task", "copy", "--pairs", "100", "--N", "1", "--d-model", "8", "--h",
                "1", "--d-ff", "8", "--steps", "1", "--run", "pairs")  # fmt: skip
    status, output, error = command(*arguments)
    assert status == 2
    assert sentence in error and "Traceback" not in error
    assert error.startswith("numpy-transformer: ") and not (folder / "x").exists()


@pytest.mark.parametrize("text", ["to be or not to be " * 60, "a" * 500, "a b\r" * 200])
def test_a_text_without_line_breaks(command, folder, text):
    (folder / "line.txt").write_bytes(text.encode())
    status, _, error = command(
        "train-lm", "--text", "line.txt", *SMALL, "--steps", "20", "--tokenizer", "characters",
        "--run", "line", "--overwrite",
    )  # fmt: skip
    assert status == 0, error
    assert error.count("  | ") >= 2


def test_a_run_that_was_stopped_before_its_first_checkpoint_is_in_nobody_s_way(command, folder):
    half = folder / "half" / "step-00000000.tmp"
    half.mkdir(parents=True)
    (half / "weights.npz").write_text("half")
    status, _, error = command("train-lm", "--text", "sums.txt", *SMALL, "--steps", "1",
                               "--tokenizer", "characters", "--run", "half")  # fmt: skip
    assert status == 0, error
    assert not half.exists()


def test_a_text_that_was_moved_is_gone_on_with(command, folder, tmp_path):
    text = folder / "here.txt"
    text.write_text("".join(LINES), encoding="utf-8")
    assert command("train-lm", "--text", "here.txt", *SMALL, "--steps", "1",
                   "--tokenizer", "characters")[0] == 0  # fmt: skip
    text.rename(tmp_path / "there.txt")
    status, _, error = command("train-lm", "--resume", "runs/here")
    assert status == 2 and "here.txt cannot be read" in error
    status, _, error = command(
        "train-lm", "--resume", "runs/here", "--text", str(tmp_path / "there.txt")
    )
    assert status == 0, error


def test_settings_of_a_run_that_were_edited_are_refused(command, folder):
    import shutil

    for edit in (
        lambda settings: settings.pop("data"),
        lambda settings: settings["data"].pop("sha256") and settings["data"].pop("text"),
        lambda settings: settings.update(data=[1]),
        lambda settings: settings["data"].update(held_out="x"),
        lambda settings: settings["data"].update(held_out=0.5),
        lambda settings: settings["model"].update(N=10**7),
    ):
        shutil.copytree(folder / "bpe", folder / "edited", dirs_exist_ok=True)
        (path,) = {p for p in folder.glob("edited/step-*/settings.json")}
        settings = json.loads(path.read_text())
        edit(settings)
        path.write_text(json.dumps(settings))
        status, _, error = command("train-lm", "--resume", "edited")
        assert status == 2 and "Traceback" not in error and len(error) > 50


def test_a_run_that_goes_on_while_it_is_read(folder, monkeypatch, tmp_path):
    """The folder that the index named is gone when it is opened: the index is read again."""
    import shutil

    shutil.copytree(folder / "bpe", tmp_path / "run")
    index = json.loads((tmp_path / "run" / checkpoint.INDEX).read_text())
    right = checkpoint.read_index
    answers = iter([{"last": "step-00000007"}])
    monkeypatch.setattr(checkpoint, "read_index", lambda run: next(answers, None) or right(run))
    assert checkpoint.load(tmp_path / "run", "last").state["step"] == int(index["last"][5:])


def test_what_an_encoding_lacks_is_a_question_mark(folder):
    done = subprocess.run(
        [sys.executable, "-m", "numpy_transformer", "generate", "--run", "bpe", "--prompt",
         "dög 🙂", "--max-new-tokens", "3", "--seed", "0"],
        cwd=folder, capture_output=True,
        env=os.environ
        | {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONIOENCODING": "cp1252"},
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.startswith("dög ?".encode("cp1252")), done.stderr


def test_a_text_that_has_changed_is_not_gone_on_with(command, folder):
    text = folder / "other.txt"
    text.write_text("".join(LINES), encoding="utf-8")
    assert command("train-lm", "--text", "other.txt", *SMALL, "--steps", "1",
                   "--tokenizer", "characters")[0] == 0  # fmt: skip
    text.write_text("".join(LINES[::-1]), encoding="utf-8")
    status, _, error = command("train-lm", "--resume", "runs/other")
    assert status == 2 and "is not the text that the run was started with" in error


def test_a_run_without_its_tokenizer_is_refused(command, folder):
    import shutil

    shutil.copytree(folder / "bpe", folder / "broken", dirs_exist_ok=True)
    for path in folder.glob("broken/step-*/text_vocabulary.json"):
        path.unlink()
    status, _, error = command("generate", "--run", "broken", "--prompt", "a")
    assert status == 2 and "text_vocabulary.json is missing" in error
