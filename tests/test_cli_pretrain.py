"""The commands pretrain and finetune, and what predict, evaluate and export make of their runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numpy_transformer import parameters, pipeline
from numpy_transformer.cli import comparison, labels, main, texts
from numpy_transformer.cli.comparison import Job
from numpy_transformer.data import docstrings
from numpy_transformer.data.masking import Rates, consecutive
from numpy_transformer.data.tasks import TASKS
from numpy_transformer.data.text import documentation
from numpy_transformer.models import masked_lm, text_encoder
from numpy_transformer.ops.cross_entropy import IGNORED
from numpy_transformer.pipelines import encoder_decoder_model, encoder_model, language_model
from numpy_transformer.training import checkpoint
from numpy_transformer.training.scales import depth

TINY = ["--d-model", "16", "--d-ff", "32", "--h", "2", "--N", "2"]
SMALL = [
    *TINY, "--context", "16", "--dropout", "0.1", "--batch-size", "8", "--steps", "60",
    "--evaluate-every", "20", "--warmup", "5", "--lr", "1e-2", "--vocab-size", "90",
]  # fmt: skip
QUICK = ["--steps", "40", "--evaluate-every", "20", "--batch-size", "8", "--lr", "1e-2"]
ANIMALS, THINGS = ("cat", "dog", "cow", "hen"), ("pen", "cup", "box", "key")
SENTENCES = [
    (f"the {noun} is {what} {place}", label)
    for label, nouns, whats in (
        ("animal", ANIMALS, ("fed", "asleep", "awake")),
        ("thing", THINGS, ("empty", "full", "lost")),
    )
    for noun in nouns
    for what in whats
    for place in ("here", "there", "at home", "outside")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a text, labelled lines, a pre-trained run and two classifiers."""
    folder = tmp_path_factory.mktemp("mlm")
    order = np.random.default_rng(0).permutation(len(SENTENCES))
    lines = [SENTENCES[i] for i in order]
    text = "".join(f"{text}.\n" for text, _ in lines)
    (folder / "text.txt").write_text(text * 3, encoding="utf-8")
    (folder / "labelled.tsv").write_text("".join(f"{t}\t{label}\n" for t, label in lines))
    pairs = "".join(
        f"{a}\t{b}\t{'same' if x == y else 'other'}\n"
        for (a, x), (b, y) in zip(lines, lines[1:])
    )
    (folder / "pairs.tsv").write_text(pairs)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["pretrain", "--text", "text.txt", *SMALL, "--run", "mlm"]) == 0
        post = ["--norm", "post", "--steps", "5", "--run", "post"]
        assert main(["pretrain", "--text", "text.txt", *SMALL, *post]) == 0
        start = ["finetune", "--from", "mlm"]
        assert main([*start, "--data", "labelled.tsv", *QUICK, "--run", "labelled"]) == 0
        assert main([*start, "--data", "pairs.tsv", *QUICK, "--run", "pairs"]) == 0
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


def same(a, b):
    """Whether two checkpoints have the same weights and optimizer, bit for bit."""
    return all(
        ours.keys() == theirs.keys()
        and all((ours[name] == theirs[name]).all() for name in ours)
        for ours, theirs in zip(a[:2], b[:2])
    )


# pretrain


def test_pretraining_learns_and_says_how_it_goes(folder, command):
    judged = [line for line in metrics(folder / "mlm") if "masked_accuracy" in line]
    assert [line["step"] for line in judged] == [20, 40, 60]
    assert judged[-1]["loss_per_token"] < judged[0]["loss_per_token"] < np.log(90)
    status, output, error = command(
        "pretrain", "--text", "text.txt", *SMALL, "--run", "mlm", "--overwrite"
    )
    assert status == 0 and "90 different tokens" in error
    assert re.search(r"step 20: held out: loss per token \d\.\d+  masked accuracy 0\.\d+", error)
    assert error.count("  | [MASK] = ") == 3
    assert re.search(r"loss +\d\.\d+ nats a hidden token\n +perplexity .*\n +masked accuracy", output)
    assert "numpy-transformer finetune --from mlm" in output


def test_what_it_reads_without_a_file():
    """The documentation and most docstrings; of the rest nothing."""
    dataset = texts.load({"text": None, "held_out": 0.2, "default": texts.DOCSTRINGS,
                          "separator": "\n\n"})  # fmt: skip
    read, kept_back = docstrings.hold_out(0.2)
    assert dataset.held_out == "\n\n".join(d.text for d in kept_back)
    assert dataset.train == "\n\n".join([*documentation(), *(d.text for d in read)])


def test_loss_and_accuracy_are_those_of_all_that_is_hidden(folder):
    """Computed again, place by place, from the checkpoint."""
    model = encoder_model.load(folder / "mlm")
    text = (folder / "text.txt").read_text()
    ids = model.tokenizer.encode(text[len(text) - round(0.2 * len(text)) :])
    nats = right = count = 0
    for read, _, targets in consecutive(ids, model.tokenizer, 16, 1000, 0, Rates()):
        logits, _ = masked_lm.forward(read, None, read >= 0, model.params, model.config)
        logits = logits.reshape(*read.shape, -1).astype(float)
        for row, place in zip(*np.nonzero(targets != IGNORED)):
            scores, target = logits[row, place], targets[row, place]
            nats += np.log(np.exp(scores).sum()) - scores[target]
            right += scores.argmax() == target
            count += 1
    last = [line for line in metrics(folder / "mlm") if "masked_accuracy" in line][-1]
    assert last["loss_per_token"] == pytest.approx(nats / count, rel=1e-5)
    assert last["masked_accuracy"] == pytest.approx(right / count)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(folder, command):
    """Killed at two moments; the masks of each step are drawn as they would have been."""
    arguments = [sys.executable, "-m", "numpy_transformer"]
    new = ["pretrain", "--text", "text.txt", *SMALL, "--run", "killed"]
    for more in (new, ["pretrain", "--resume", "killed"]):
        process = subprocess.Popen([*arguments, *more], cwd=folder, stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, text=True)  # fmt: skip
        for line in process.stderr:
            if re.match(r"step \d+: held out", line):
                process.send_signal(signal.SIGKILL)
                break
        process.stderr.close()
        process.wait()
    assert command("pretrain", "--resume", "killed")[0] == 0
    assert same(checkpoint.load(folder / "killed", "last"), checkpoint.load(folder / "mlm", "last"))


@pytest.mark.parametrize("tokenizer", ["bpe", "characters"])
def test_other_tokenizers_serve_too(command, tokenizer):
    small = [option for option in SMALL if option not in ("--vocab-size", "90")]
    size = ["--vocab-size", "280"] if tokenizer == "bpe" else []
    arguments = ["--tokenizer", tokenizer, *small, *size, "--steps", "2", "--run", tokenizer]
    assert command("pretrain", "--text", "text.txt", *arguments)[0] == 0
    status, output, _ = command("predict", "--run", tokenizer, "--lines", "1", "text.txt")
    assert status == 2  # no mask in it
    found = pipeline("fill-mask", tokenizer)("the [MASK] is here")
    assert len(found) == 5 and sum(a["score"] for a in found) <= 1


# finetune


def test_finetuning_learns_and_reports(folder, command):
    status, output, error = command("finetune", "--from", "mlm", "--data", "labelled.tsv",
                                    *QUICK, "--run", "labelled", "--overwrite")  # fmt: skip
    assert status == 0
    assert "77 examples to train on, 19 held out, 2 labels" in error
    best = checkpoint.load(folder / "labelled", "best").state["best"]
    assert best["accuracy"] > 0.85 and 0 < best["macro_f1"] <= 1
    assert re.search(rf"accuracy +{best['accuracy']:.2%}", output)
    assert "precision    recall        F1  examples" in output
    # The confusion matrix has all that was held out.
    counts = re.findall(r"^(?:animal|thing) +(\d+) +(\d+)$", output, re.MULTILINE)
    assert sum(int(n) for row in counts for n in row) == 19
    assert "| numpy-transformer predict --run labelled" in output


def test_the_encoder_comes_from_the_checkpoint_and_the_head_is_new(folder, command):
    """With a rate that moves nothing, the encoder is the pre-trained one, bit for bit."""
    arguments = ["--data", "labelled.tsv", "--steps", "1", "--lr", "1e-30", "--weight-decay", "0"]
    assert command("finetune", "--from", "mlm", *arguments, "--run", "still")[0] == 0
    before, after = encoder_model.load(folder / "mlm"), encoder_model.load(folder / "still")
    encoder = dict(parameters.items(text_encoder.part_of(after.params)))
    for name, array in parameters.items(text_encoder.part_of(before.params)):
        np.testing.assert_array_equal(array, encoder[name])
    assert set(after.params) - set(before.params) == {"pooler", "output"}
    assert after.tokenizer == before.tokenizer and after.labels == ("animal", "thing")


def test_frozen_layers_stay_and_lower_layers_change_less(folder, command):
    arguments = ["--from", "mlm", "--data", "labelled.tsv", *QUICK]
    assert command("finetune", *arguments, "--freeze", "1", "--run", "frozen")[0] == 0
    assert command("finetune", *arguments, "--layer-decay", "0.1", "--run", "decayed")[0] == 0
    before = dict(parameters.items(encoder_model.load(folder / "mlm").params))
    frozen = dict(parameters.items(encoder_model.load(folder / "frozen").params))
    decayed = dict(parameters.items(encoder_model.load(folder / "decayed").params))
    moved = {}
    for name in before.keys() & frozen.keys():
        stays = depth(name, 2) <= 1
        assert (before[name] == frozen[name]).all() == stays, name
        change = np.abs(decayed[name] - before[name]).max()
        moved[depth(name, 2)] = max(moved.get(depth(name, 2), 0), change)
    assert moved[0] < moved[1] / 3 < moved[2] / 9


def test_pairs_of_texts(folder, command):
    status, output, _ = command("evaluate", "--run", "pairs")
    assert status == 0 and "same" in output and "other" in output
    (folder / "two.txt").write_text("the cat is fed here\tthe hen is awake here\n\n")
    status, output, _ = command("predict", "--run", "pairs", "two.txt", "--scores")
    assert status == 0
    label, p, other, q = output.splitlines()[0].split("\t")
    assert {label, other} == {"same", "other"} and float(p) >= float(q)
    assert float(p) + float(q) == pytest.approx(1, abs=2e-4)


def test_prediction_is_a_filter(folder, command):
    (folder / "lines.txt").write_text("the dog is asleep here\n\nthe key is lost outside\n")
    status, output, _ = command("predict", "--run", "labelled", "lines.txt")
    assert status == 0
    first, empty, second = output.splitlines()
    assert re.fullmatch(r"animal\t[01]\.\d{4}", first) and empty == ""
    assert re.fullmatch(r"thing\t[01]\.\d{4}", second)
    classify = pipeline("text-classification", folder / "labelled")
    assert float(first.split("\t")[1]) == pytest.approx(
        classify("the dog is asleep here")[0]["score"], abs=1e-4
    )


def test_masks_are_said_line_by_line(folder, command):
    (folder / "masks.txt").write_text("the [MASK] is fed here\nthe [MASK] is [MASK] here\n")
    status, output, _ = command("predict", "--run", "mlm", "masks.txt")
    assert status == 0
    one, two = output.splitlines()
    assert len(one.split()) == 10 and len(two.split("\t")) == 2
    (folder / "masks.txt").write_text("the [MASK] is fed here\nnothing\n")
    status, _, error = command("predict", "--run", "mlm", "masks.txt")
    assert status == 2 and "line 2: there is no [MASK] in 'nothing'" in error


def test_evaluation_of_a_file_and_in_json(folder, command):
    status, output, _ = command("evaluate", "--run", "labelled", "labelled.tsv", "--json")
    found = json.loads(output)
    assert status == 0 and found["labels"] == ["animal", "thing"]
    assert np.sum(found["confusion"]) == len(SENTENCES)
    assert found["accuracy"] == np.trace(found["confusion"]) / len(SENTENCES)
    (folder / "wrong.tsv").write_text("the cat is fed\tplant\n")
    status, _, error = command("evaluate", "--run", "labelled", "wrong.tsv")
    assert status == 2 and "the label 'plant' is none of those" in error


def test_a_class_can_weigh_more(folder, command):
    arguments = ["--from", "mlm", "--data", "labelled.tsv", "--steps", "2"]
    for given, expected in (("thing=3,animal=1", (1.0, 3.0)), ("balanced", None)):
        assert command("finetune", *arguments, "--class-weights", given, "--run", "w",
                       "--overwrite")[0] == 0  # fmt: skip
        config = encoder_model.load(folder / "w").config
        data = labels.load(checkpoint.load(folder / "w", "last").settings["data"])
        counts = [sum(e.label == label for e in data.train) for label in data.labels]
        expected = expected or tuple(len(data.train) / 2 / count for count in counts)
        assert config.class_weights == pytest.approx(expected)
    status, _, error = command("finetune", *arguments, "--class-weights", "cat=1", "--run", "x")
    assert status == 2 and "--class-weights names cat, but the labels are animal, thing" in error


def test_finetuning_goes_on_after_a_stop(folder, command):
    """The last checkpoint is made the one of step 20, as a run that was killed has it."""
    arguments = ["finetune", "--from", "mlm", "--data", "labelled.tsv", *QUICK, "--freeze", "0"]
    assert command(*arguments, "--run", "whole")[0] == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "numpy_transformer", *arguments, "--run", "part"],
        cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    for line in process.stderr:
        if line.startswith("step 20: held out"):
            process.send_signal(signal.SIGKILL)
            break
    process.stderr.close()
    process.wait()
    assert command("finetune", "--resume", "part")[0] == 0
    assert same(checkpoint.load(folder / "part", "last"), checkpoint.load(folder / "whole", "last"))


def test_a_few_labels_are_drawn_as_many_of_each_class():
    examples = [labels.Example((str(i),), "rare" if i % 10 == 0 else "often") for i in range(100)]
    for seed in range(3):
        drawn = labels.draw(examples, ("often", "rare"), 12, seed)
        assert [e.label for e in drawn].count("rare") == 6
        assert len({e.texts for e in drawn}) == 12
    assert [e.label for e in labels.draw(examples, ("often", "rare"), 40, 0)].count("rare") == 10
    with pytest.raises(ValueError, match="--labels is 101, expected 2"):
        labels.draw(examples, ("often", "rare"), 101, 0)


def test_the_task_that_comes_with_python():
    """Nothing that is held out stands in what pretrain reads, or in what is trained on."""
    train, held_out = labels.library(0.2)
    assert not {e.texts for e in train} & {e.texts for e in held_out}
    assert len(train) >= 1000 and len(held_out) >= 200
    assert {e.label for e in held_out} <= {e.label for e in train}
    assert "asyncio" in {e.label for e in train}
    read, kept_back = docstrings.hold_out(0.2)
    assert not set(read) & set(kept_back) and len(read) > 3 * len(kept_back)
    assert {e.texts for e in held_out} <= {e.texts for e in docstrings.summaries(kept_back)}


# An encoder-decoder and a language model.


def test_an_encoder_decoder_is_trained_further(folder, command):
    lines = "".join(f"{a}\t{b}\n" for a, b in TASKS["reverse"].pairs(200, 0, 0)[0])
    (folder / "reverse.tsv").write_text(lines)
    small = [*TINY, "--batch-tokens", "200", "--steps", "30", "--evaluate-every", "30"]
    assert command("train", "--data", "reverse.tsv", *small, "--run", "pairs0")[0] == 0
    more = ["--data", "reverse.tsv", "--steps", "20", "--evaluate-every", "10", "--freeze", "0"]
    status, output, _ = command("finetune", "--from", "pairs0", *more, "--run", "pairs1")
    assert status == 0 and "numpy-transformer predict --run pairs1" in output
    before = encoder_decoder_model.load(folder / "pairs0")
    after = encoder_decoder_model.load(folder / "pairs1")
    assert (before.source, before.target) == (after.source, after.target)
    for name, array in parameters.items(after.params):
        assert (array == parameters.find(before.params, name)).all() == (depth(name, 2) == 0), name
    first = next(line for line in metrics(folder / "pairs1") if "loss_per_token" in line)
    last = [line for line in metrics(folder / "pairs0") if "loss_per_token" in line][-1]
    assert first["loss_per_token"] < last["loss_per_token"]
    assert checkpoint.load(folder / "pairs1", "last").state["adam_steps"] == 20  # begun anew
    (folder / "new.tsv").write_text("ab\tba\nÄb\tbÄ\ncd\tdc\n" * 3)
    status, _, error = command("finetune", "--from", "pairs0", "--data", "new.tsv", "--steps", "1",
                               "--held-out", "0.4", "--run", "pairs2")  # fmt: skip
    assert status == 0 and "1 tokens of the data are read as <unk>: 'Ä'" in error
    (folder / "long.tsv").write_text(f"{'ab' * 99}\tba\ncd\tdc\n")
    status, _, error = command("finetune", "--from", "pairs0", "--data", "long.tsv",
                               "--held-out", "0.5")  # fmt: skip
    assert status == 2 and "has 198 tokens" in error


def test_a_language_model_is_trained_further(folder, command):
    small = ["--preset", "nano", "--context", "16", "--batch-size", "4", "--vocab-size", "300"]
    short = ["--steps", "20", "--evaluate-every", "10"]
    assert command("train-lm", "--text", "text.txt", *small, *short, "--run", "lm0")[0] == 0
    more = ["--data", "labelled.tsv", "--batch-size", "4", *short, "--layer-decay", "0.5"]
    status, output, _ = command("finetune", "--from", "lm0", *more, "--run", "lm1")
    assert status == 0 and "numpy-transformer generate --run lm1" in output
    assert language_model.load(folder / "lm1").tokenizer == language_model.load("lm0").tokenizer
    whole = checkpoint.load(folder / "lm1", "last")
    # Stopped in the middle and taken up again, the rates of the layers are the same.
    assert command("finetune", "--from", "lm0", *more[:-4], "--steps", "20", "--evaluate-every",
                   "10", "--layer-decay", "0.5", "--run", "lm2")[0] == 0  # fmt: skip
    index = json.loads((folder / "lm2" / checkpoint.INDEX).read_text())
    assert command("finetune", "--resume", "lm2")[0] == 0
    assert index and same(whole, checkpoint.load(folder / "lm2", "last"))


# A comparison.


def test_a_comparison_is_a_table_and_goes_on_where_it_was(folder, command):
    arguments = ["finetune", "--from", "mlm", "--data", "labelled.tsv", "--compare", "8,16",
                 "--seeds", "2", "--steps", "10", "--batch-size", "4", "--jobs", "1"]  # fmt: skip
    status, output, error = command(*arguments)
    assert status == 0 and "8 of 8: 16 labels, from scratch, seed 1: accuracy" in error
    rows = [line for line in output.splitlines() if line.startswith("|")]
    assert rows[0] == "| labels | pre-trained | from scratch | gain | standard error |"
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["8", "16"]
    path = folder / "runs" / "labelled-comparison" / comparison.RESULTS
    first, *lines = path.read_text().splitlines()
    assert len(lines) == 8
    # All but two are there: only these are trained, and come out the same.
    path.write_text("\n".join([first, *lines[2:]]) + "\n")
    status, output_2, error = command(*arguments)
    assert status == 0 and "of which 6 are done" in error and error.count("accuracy") == 2
    assert [line for line in output_2.splitlines() if line.startswith("|")] == rows
    status, _, error = command(*arguments, "--lr", "0.5")
    assert status == 2 and "is of another comparison" in error
    for damaged in ("", "{", f"{first}\n[]", f'{first}\n{{"job": {{}}, "result": 1}}'):
        path.write_text(damaged)
        status, _, error = command(*arguments)
        assert status == 2 and "is damaged" in error and "--overwrite" in error
        assert path.read_text() == damaged  # nothing is lost


def test_the_table_has_the_mean_the_spread_and_the_standard_error():
    jobs = [Job(9, seed, arm) for seed in range(3) for arm in comparison.ARMS]
    done = {job: {"accuracy": a} for job, a in zip(jobs, (0.9, 0.6, 0.8, 0.7, 1.0, 0.5))}
    assert comparison.table(done, jobs).splitlines()[2] == (
        "| 9 | 90.0 % ± 10.0 | 60.0 % ± 10.0 | 30.0 | 8.2 |"
    )


# Export.


def test_a_bert_is_written_and_says_the_same(folder, command):
    assert command("export", "--run", "post", "--to", "bert")[0] == 0
    text = "the [MASK] is here"
    ours, theirs = (pipeline("fill-mask", folder / name)(text) for name in ("post", "bert"))
    assert [a["token"] for a in ours] == [a["token"] for a in theirs]
    arguments = ["--data", "labelled.tsv", *QUICK, "--pooling", "first", "--run", "first"]
    assert command("finetune", "--from", "bert", *arguments)[0] == 0  # from a BERT folder
    assert command("export", "--run", "first", "--to", "first-bert")[0] == 0
    text = "the cat is fed here"
    ours, theirs = (
        pipeline("text-classification", folder / name)(text) for name in ("first", "first-bert")
    )
    assert ours == theirs


def test_what_a_bert_has_no_place_for_is_said(command):
    status, _, error = command("export", "--run", "mlm", "--to", "no")
    assert status == 2 and "norm" in error
    status, _, error = command("export", "--run", "labelled", "--to", "no")
    assert status == 2 and ("norm" in error or "pooling" in error)


# What is refused.


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["finetune"], "say what to fine-tune, with --from"),
        (["finetune", "--from", "nowhere"], "nowhere is no folder with an encoder-only model"),
        (["finetune", "--from", "mlm", "--data", "nowhere.tsv"], "nowhere.tsv cannot be read"),
        (["finetune", "--from", "mlm", "--data", "text.txt"], "line 1: 0 tabs, expected 1"),
        (["finetune", "--from", "mlm", "--data", "labelled.tsv", "--labels", "1"], "--labels is 1"),
        (["finetune", "--from", "mlm", "--data", "labelled.tsv", "--freeze", "3"], "0 to 2"),
        (["finetune", "--from", "mlm", "--data", "labelled.tsv", "--layer-decay", "2"], "decay"),
        (["finetune", "--from", "mlm", "--data", "labelled.tsv", "--pooling", "last"], "pooling="),
        (["finetune", "--from", "mlm", "--data", "labelled.tsv", "--valid", "pairs.tsv"],
         "labelled.tsv has 1 texts in a line, but"),
        (["finetune", "--from", "mlm", "--compare", "8,x"], "--compare is '8,x'"),
        (["finetune", "--from", "mlm", "--compare", "8", "--seeds", "1"], "at least 2"),
        (["finetune", "--from", "mlm", "--data", "labelled.tsv", "--compare", "1"],
         "--compare is 1, expected 2"),
        (["finetune", "--from", "mlm", "--data", "labelled.tsv", "--jobs", "2"], "give --compare"),
        (["finetune", "--from", "mlm", "--data", "labelled.tsv", "--held-out", "nan"],
         "--held-out is nan, expected above 0"),
        (["finetune", "--resume", "mlm"], "is no run of 'finetune'"),
        (["evaluate", "--run", "mlm"], "mlm holds a masked language model"),
        (["pretrain", "--resume", "labelled"], "go on with 'finetune --resume'"),
        (["pretrain", "--text", "text.txt", "--masked", "0.9", "--random", "0.2"], "masked=0.9"),
        (["pretrain", "--text", "text.txt", "--chosen", "0"], "chosen=0"),
        (["pretrain", "--text", "text.txt", "--context", "2"], "expected at least 1 of 3"),
        (["pretrain", "--text", "text.txt", "--tokenizer", "words"], "--tokenizer is 'words'"),
        (["predict", "--run", "labelled", "--beam", "3", "text.txt"], "--beam is for an encoder-"),
        (["train", "--resume", "mlm"], "holds no encoder-decoder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_cannot_be_done_is_said(command, arguments, message):
    status, output, error = command(*arguments, *(["--run", "new"] if "--run" not in arguments
                                                  and "--resume" not in arguments else []))
    assert (status, output) == (2, "") and message in error, error
    assert error.startswith("numpy-transformer: ") and "Traceback" not in error


def test_examples_of_which_only_one_class_is_left_to_train_on(folder, command):
    (folder / "one.tsv").write_text("a cat\tx\na dog\tx\n")
    (folder / "both.tsv").write_text("a cat\tx\na pen\ty\n")
    status, _, error = command("finetune", "--from", "mlm", "--data", "one.tsv", "--valid",
                               "both.tsv", "--run", "new")  # fmt: skip
    assert status == 2 and "all examples to train on have the label 'x'" in error


@pytest.mark.parametrize(
    "change, arguments, message",
    [
        ({"kind": [1]}, ["finetune", "--resume"], "its kind is [1]"),
        ({"finetuning": 5}, ["finetune", "--resume"], "settings.json is damaged"),
        ({"finetuning": {"decay": "x", "freeze": None}}, ["finetune", "--resume"], "is damaged"),
        ({"labels": ["thing", "animal"]}, ["finetune", "--resume"], "the labels are thing, animal"),
        ({"labels": ["a", "a"]}, ["predict", "--run"], "expected a list of names, each once"),
        ({"labels": "ab"}, ["evaluate", "--run"], "expected a list of names, each once"),
        (None, ["evaluate", "--run"], "holds no encoder-decoder"),
        (None, ["finetune", "--data", "labelled.tsv", "--from"], "holds no encoder-decoder"),
    ],
)
def test_damaged_settings_are_refused_with_a_sentence(folder, command, change, arguments, message):
    damaged = folder / "damaged"
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(folder / "labelled", damaged)
    for path in damaged.glob("step-*/settings.json"):
        settings = json.loads(path.read_text())
        path.write_text(json.dumps([1] if change is None else settings | change))
    status, _, error = command(*arguments, "damaged")
    assert status == 2 and message in error, error


def test_a_checkpoint_that_predict_has_no_answer_from_is_named(folder, command):
    recordings = Path(__file__).parent / "recordings" / "pipelines"
    status, _, error = command("predict", "--run", str(recordings / "text_encoder"))
    assert status == 2 and "holds an encoder, expected a classifier" in error
    (folder / "config-only").mkdir()
    (folder / "config-only" / "config.json").write_text("[1]")
    status, _, error = command("predict", "--run", "config-only")
    assert status == 2 and "holds [1], expected a JSON object" in error
    with pytest.raises(ValueError, match="there is no task"):
        pipeline([])
