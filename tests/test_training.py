"""Training: it learns, it can be killed and taken up again, and it stops when numbers go wrong."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from numpy_transformer import files, parameters
from numpy_transformer.cli import main
from numpy_transformer.data.batches import Batches
from numpy_transformer.models import encoder_decoder, encoder_decoder_loss
from numpy_transformer.training import checkpoint, trainer
from numpy_transformer.training.checkpoint import CheckpointError
from numpy_transformer.training.progress import Progress

SMALL = [
    "train", "--task", "copy", "--pairs", "300", "--N", "1", "--d-model", "16", "--d-ff", "32",
    "--h", "2", "--dropout", "0.1", "--batch-tokens", "400", "--steps", "60",
    "--evaluate-every", "10",
]  # fmt: skip


def start(*arguments, cwd):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "numpy_transformer", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell starts jobs in the background with Ctrl-C ignored, and so would be this one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def arrays_of(run):
    """Every array of a run's last checkpoint."""
    saved = checkpoint.load(Path(run), "last")
    return saved.weights | saved.optimizer


def assert_same_to_the_last_bit(run, other):
    first, second = arrays_of(run), arrays_of(other)
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("runs")
    process = start(*SMALL, "--run", "whole", cwd=folder)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return folder / "whole"


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)


def test_killed_at_any_moment_and_resumed_it_ends_with_the_same_weights(whole_run, tmp_path):
    rng = random.Random(0)
    command = [*SMALL, "--run", "run"]
    for name in ("step-00000000", "step-00000010", "step-00000020", "step-00000040"):
        process = start(*command, cwd=tmp_path)
        wait_for(lambda name=name: _index(tmp_path / "run").get("last", "") >= name, process)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL  # it had not ended by itself
        command = ["train", "--resume", "run"]
    process = start(*command, cwd=tmp_path)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "going on with run after step" in output
    assert_same_to_the_last_bit(tmp_path / "run", whole_run)
    # The measurements are those of the other run as well, each step once.
    assert _metrics(tmp_path / "run") == _metrics(whole_run)


def _index(run):
    path = run / checkpoint.INDEX
    return json.loads(path.read_text()) if path.exists() else {}


def _metrics(run):
    lines = [json.loads(line) for line in (run / checkpoint.METRICS).read_text().splitlines()]
    timed = ("seconds", "tokens_per_second")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]


def test_ctrl_c_saves_and_says_how_to_go_on(whole_run, tmp_path):
    process = start(*SMALL, "--run", "run", cwd=tmp_path)
    wait_for(lambda: "best" in _index(tmp_path / "run"), process)
    time.sleep(0.03)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "go on with:\n  numpy-transformer train --resume run" in output
    assert "Traceback" not in output
    process = start("train", "--resume", "run", cwd=tmp_path)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert_same_to_the_last_bit(tmp_path / "run", whole_run)


def test_a_job_that_was_started_with_ctrl_c_ignored_goes_on():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with trainer._ctrl_c(quiet()) as interrupted:
            os.kill(os.getpid(), signal.SIGINT)
            assert not interrupted()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(whole_run, tmp_path):
    short = [*SMALL, "--steps", "10"]
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        process = start(*short, "--seed", seed, "--run", name, cwd=tmp_path)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    assert_same_to_the_last_bit(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same_to_the_last_bit(tmp_path / "a", tmp_path / "c")


def small_task(tmp_path, **settings):
    """A trainer's task without a command around it."""
    config = encoder_decoder.preset(
        "tiny", source_vocab=12, target_vocab=12, N=1, d_model=16, d_ff=32, h=2, max_length=16
    )
    rng = np.random.default_rng(0)
    sources = [rng.integers(4, 12, rng.integers(1, 6)).tolist() for _ in range(200)]
    batches = Batches(sources, [[1, *source, 2] for source in sources], 300, seed=0)
    settings = trainer.Settings(**{"steps": 40, "evaluate_every": 20, "warmup": 5} | settings)

    def evaluate(params):
        loss, _ = encoder_decoder_loss.forward(*batches.at(0, 0), params, config)
        return {"loss_per_token": float(loss)}

    task = trainer.Task(
        encoder_decoder_loss,
        config,
        batches,
        evaluate,
        lambda a, b: a["loss_per_token"] < b["loss_per_token"],
        {"model": {}},
        {"source": {}, "target": {}},
    )
    state = trainer.State(encoder_decoder.init(rng, config), settings)
    return state, task, settings


def quiet():
    return Progress(io.StringIO())


def test_it_learns(tmp_path):
    state, task, settings = small_task(tmp_path, steps=300, lr=5e-3, evaluate_every=100)
    before = task.evaluate(state.params)["loss_per_token"]
    assert trainer.train(state, task, settings, tmp_path, quiet())
    assert state.best["loss_per_token"] < 0.2 * before
    with open(tmp_path / checkpoint.METRICS) as file:
        lines = [json.loads(line) for line in file]
    assert [line["step"] for line in lines if "loss_per_token" in line] == [100, 200, 300]
    assert all(line["lr"] <= settings.lr for line in lines if "lr" in line)


def test_the_learning_rate_advances_once_a_step(tmp_path, monkeypatch):
    """A trap: a schedule that advances once per tensor."""
    rates = []
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    state, task, settings = small_task(tmp_path, steps=10, schedule="cosine", warmup=5)
    trainer.train(state, task, settings, tmp_path, quiet())
    for line in (tmp_path / checkpoint.METRICS).read_text().splitlines():
        rates.append(json.loads(line).get("lr"))
    rates = [rate for rate in rates if rate is not None]
    assert rates[:5] == pytest.approx([settings.lr * step / 5 for step in range(1, 6)])
    assert state.adam.steps == 10


def test_the_best_checkpoint_is_kept_apart_from_the_last(tmp_path):
    state, task, settings = small_task(tmp_path, steps=60, lr=5e-3)
    results = iter([0.5, 0.1, 0.9])

    def evaluate(params):
        return {"loss_per_token": next(results)}

    task = trainer.Task(*[getattr(task, f) if f != "evaluate" else evaluate
                          for f in task.__dataclass_fields__])  # fmt: skip
    trainer.train(state, task, settings, tmp_path, quiet())
    assert checkpoint.load(tmp_path, "best").state["step"] == 40
    assert checkpoint.load(tmp_path, "last").state["step"] == 60
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-00000040", "step-00000060"]


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_parameter(tmp_path):
    state, task, settings = small_task(tmp_path)
    trainer.train(state, task, settings, tmp_path, quiet())
    good = checkpoint.load(tmp_path, "last")
    state, task, settings = small_task(tmp_path, steps=80)
    state.restore(good)
    state.params["encoder"]["norm"]["bias"][3] = np.nan
    with pytest.raises(trainer.NotFinite, match=r"loss is nan at step 41.*encoder\.norm\.bias"):
        trainer.train(state, task, settings, tmp_path, quiet())
    for name, array in checkpoint.load(tmp_path, "last").weights.items():
        np.testing.assert_array_equal(array, good.weights[name])


def test_a_gradient_that_is_not_finite_stops_the_run_and_names_the_parameter(tmp_path):
    state, task, settings = small_task(tmp_path)

    class Broken:
        forward = encoder_decoder_loss.forward

        @staticmethod
        def backward(dloss, cache):
            dparams = encoder_decoder_loss.backward(dloss, cache)
            dparams["decoder"]["layers"]["0"]["feed_forward"]["output"]["bias"][0] = np.inf
            return dparams

    task = trainer.Task(Broken, *[getattr(task, f) for f in list(task.__dataclass_fields__)[1:]])
    before = state.weights.copy()
    name = r"decoder\.layers\.0\.feed_forward\.output\.bias"
    with pytest.raises(trainer.NotFinite, match=rf"norm is (inf|nan) at step 1.*{name}"):
        trainer.train(state, task, settings, tmp_path, quiet())
    np.testing.assert_array_equal(state.weights, before)


def test_a_run_that_diverges_is_stopped_by_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status = main([*SMALL, "--lr", "1e30", "--warmup", "1", "--clip", "0", "--run", "run"])
    error = capsys.readouterr().err
    assert status == 2
    assert "try a smaller learning rate" in error and "Traceback" not in error


def test_until_one_is_judged_the_last_checkpoint_is_the_best(tmp_path, monkeypatch):
    state, task, settings = small_task(tmp_path)
    monkeypatch.setattr(trainer, "_ctrl_c", lambda progress: nullcontext(lambda: True))
    assert not trainer.train(state, task, settings, tmp_path, quiet())
    assert _index(tmp_path) == {"last": "step-00000001", "best": "step-00000001"}


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    state, task, settings = small_task(tmp_path, steps=20, evaluate_every=1, lr=1e30, clip=0.0)
    with pytest.raises(trainer.NotFinite, match="try a smaller learning rate"):
        trainer.train(state, task, settings, tmp_path, quiet())
    for which in ("last", "best"):
        for name, array in checkpoint.load(tmp_path, which).weights.items():
            assert np.isfinite(array).all(), name


def test_gradients_are_gathered_by_name():
    """A tree of parameters in another order still gets each weight its own gradient."""
    state, task, settings = small_task(None)
    _, cache = encoder_decoder_loss.forward(*task.batches.at(0, 0), state.params, task.config)
    dparams = encoder_decoder_loss.backward(1.0, cache)
    turned = dict(reversed(state.params.items()))
    vector = parameters.gather(dparams, like=turned)
    for name, where in parameters.slices(turned).items():
        expected = parameters.find(dparams, name)
        np.testing.assert_array_equal(vector[where].reshape(expected.shape), expected)


def test_files_are_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    files.write_json(path, {"step": 1})

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        files.write_json(path, {"step": 2})
    assert files.read_json(path) == {"step": 1}


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "weights.npz", weight=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="weights.npz is damaged.*allow_pickle"):
        files.read_arrays(tmp_path / "weights.npz")


@pytest.fixture
def saved_run(tmp_path):
    state, task, settings = small_task(tmp_path, steps=20)
    trainer.train(state, task, settings, tmp_path, quiet())
    return tmp_path


@pytest.mark.parametrize("name", ["weights.npz", "optimizer.npz", "state.json", "settings.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "garbage", "flipped"])
def test_a_damaged_checkpoint_is_refused_with_the_name_of_its_file(saved_run, name, damage):
    path = saved_run / "step-00000020" / name
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[:middle])
    elif damage == "garbage":
        path.write_bytes(os.urandom(200))
    else:
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
    with pytest.raises(CheckpointError, match=f"{name} is (missing|damaged)"):
        checkpoint.load(saved_run, "last")


def test_progress_on_a_terminal_and_in_a_file():
    class Terminal(list):
        def isatty(self):
            return True

        def write(self, text):
            self.append(text)

        def flush(self):
            pass

    terminal = Terminal()
    progress = Progress(terminal)
    progress.status("step 1")
    progress.status("step 2")
    progress.message("done")
    assert "".join(terminal) == "\r\x1b[Kstep 1\r\x1b[Kstep 2\r\x1b[Kdone\n"
    file = io.StringIO()
    progress = Progress(file)
    progress.status("step 1")
    assert not progress.due()
    progress.message("done")
    assert file.getvalue() == "step 1\ndone\n"
