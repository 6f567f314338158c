"""Every bug of the catalogue is found, its gradients are named, and the damage is recognised."""

from __future__ import annotations

import re

import numpy as np
import pytest
import workers

from numpy_transformer.gradcheck import Call, FaceError, check, diagnosis, matrix, points
from numpy_transformer.gradcheck.bugs import BUGS
from numpy_transformer.gradcheck.protocols import PROTOCOLS
from numpy_transformer.ops import layer_norm, softmax

VISIBLE = [name for name, bug in BUGS.items() if not bug.invisible]
INVISIBLE = [name for name, bug in BUGS.items() if bug.invisible]
QUICK = [name for name in VISIBLE if BUGS[name].module.__name__.split(".")[1] == "ops"]


def planted(case):
    """The report on a bug, ``(name, seed)``."""
    name, seed = case
    return matrix.report(BUGS[name], seed)


@pytest.fixture(scope="module")
def reports(request):
    """``planted``, of every case once."""
    with workers.Workers(planted) as found:
        found.start((name, 0) for name in workers.chosen(request, "name"))
        yield found


@pytest.mark.parametrize("name", VISIBLE)
def test_a_bug_is_found_and_its_gradients_are_named(name, reports):
    found = reports((name, 0))
    assert not found.ok
    assert set(BUGS[name].gradients) <= set(found.amiss)
    assert {g.name for g in found.gradients if not g.ok} <= set(BUGS[name].gradients)
    with pytest.raises(AssertionError, match="a gradient is wrong"):
        found.raise_if_wrong()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bugs_in_operations_are_found_at_other_points(seed, reports):
    reports.start((name, seed) for name in QUICK)
    missed = [name for name in QUICK if reports((name, seed)).ok]
    assert not missed


@pytest.mark.parametrize("name", INVISIBLE)
def test_what_no_gradient_can_show_raises_no_alarm(name, reports):
    found = reports((name, 0))
    assert found.ok, found.table()
    assert not BUGS[name].gradients


def test_nine_of_ten_distortions_are_named(reports):
    reports.start((name, 0) for name in VISIBLE)
    known = {name for name in VISIBLE if BUGS[name].kind}
    named = {
        name for name in known
        if {g.kind for g in reports((name, 0)).gradients if not g.ok} == {BUGS[name].kind}
    }  # fmt: skip
    assert len(known) >= 40
    assert len(named) >= 0.9 * len(known), known - named


def test_no_bug_is_given_a_kind_that_it_is_not(reports):
    """A diagnosis that is not the catalogue's is at least never one that contradicts it."""
    kinds = set(re.findall(r"^``(\w+)``", diagnosis.__doc__, re.MULTILINE))
    assert {bug.kind for bug in BUGS.values()} - {""} <= kinds
    reports.start((name, 0) for name in VISIBLE)
    for name in VISIBLE:
        assert {gradient.kind for gradient in reports((name, 0)).gradients} - {""} <= kinds


def test_the_catalogue_is_large_and_says_what_there_is_to_know():
    assert len(VISIBLE) >= 60
    for name, bug in BUGS.items():
        module = bug.module.__name__.rpartition(".")[2]
        assert re.fullmatch(rf"{module}\.[A-Za-z0-9-]+", name)
        assert bug.what.endswith(".") and len(bug.what.split()) >= 5, name
        assert len(bug.seen.split()) >= 3, name
        assert bug.point in points.POINTS
        assert bool(bug.invisible) or bug.gradients or name in FACE_ONLY, name


# Found by a rule of the face; every gradient is right when backward is called for the first time.
FACE_ONLY = {name for name in VISIBLE if not BUGS[name].gradients}


def test_every_module_has_bugs_of_its_own():
    with_bugs = {name.partition(".")[0] for name in VISIBLE}
    assert {name.partition(",")[0] for name in points.POINTS} <= with_bugs | {"residual"}
    assert "residual" in with_bugs


# The traps of public code, and the bug that stands for each.
TRAPS = {
    "layer norm weight other than 1": "layer_norm.weight-taken-as-1",
    "layout of dkey when T is not K": "attention.key-reshaped",
    "sum over tied weights": "encoder_decoder.tied-output-forgotten",
    "sum over a language model's tied weights": "causal_lm.tied-output-forgotten",
    "sum over tied embeddings": "encoder_decoder.tied-source-forgotten",
    "sum over a masked language model's tied weights": "masked_lm.tied-output-forgotten",
    "repeated tokens": "embedding.repeated-ids-assigned",
    "the sqrt(D) scale": "input_embedding.scale-forgotten",
    "the scale that GPT has not": "causal_lm.embeddings-scaled",
    "loss divided by the wrong count": "cross_entropy.divided-by-all-positions",
    "tokens that nothing predicts counted": "causal_lm_loss.divided-by-all-tokens",
    "tokens that are not chosen counted": "masked_lm_loss.divided-by-all-tokens",
    "a mean over padding": "pooling.padding-included",
    "class weights in one of the two passes": "cross_entropy.class-weights-forgotten",
    "one dropout mask at several places": "encoder_layer.one-mask-of-dropout",
    "dvalue under dropout": "attention.value-before-dropout",
    "cross-attention with S other than T": "multi_head_attention.memory-added-to-x",
    "a decoder that sees the future": "masks.next-token-seen",
    "a backward pass that sees the future": "attention.recomputed-without-mask",
    "targets shifted twice": "causal_lm_loss.shifted-twice",
    "softmax divided by the batch": "softmax.divided-by-the-batch",
    "dropout still on while generating": "dropout.never-off",
    "float64 creeping in": "attention.float64-scale",
}


@pytest.mark.parametrize("trap", TRAPS)
def test_the_known_traps_are_in_the_catalogue(trap):
    """But for a schedule that advances once per tensor: no forward or backward pass has it."""
    assert TRAPS[trap] in BUGS


def test_a_bug_is_gone_when_the_block_ends():
    right = layer_norm.backward
    bug = BUGS["layer_norm.mean-term-dropped"]
    with pytest.raises(KeyError), bug.planted():
        assert layer_norm.backward is not right
        raise KeyError
    assert layer_norm.backward is right


def test_a_bug_in_an_operation_shows_in_the_layers_above_it():
    point = points.point("encoder_layer, pre-norm, relu")
    call = Call(point.op, point.args, point.settings)
    for name in ("softmax.sum-left-out", "relu.handed-on", "dropout.mask-forgotten"):
        with BUGS[name].planted():
            found = check(call, "direction", zero=point.zero)
        assert not found.ok
        assert "direction" in found.notes[0]  # each gradient got one of its own
    check(call, "direction", zero=point.zero).raise_if_wrong()


# The matrix, and the protocols in common use


@pytest.mark.parametrize("column", PROTOCOLS)
def test_what_is_commonly_done_is_not_enough(column):
    """It passes correct code, finds some bugs, and misses some that our methods find."""
    missed = {
        "ones": "softmax.divided-by-the-batch",
        "one entry": "relu.handed-on",
        "float32": "gelu.tanh-derivative-of-the-exact-form",
        "weights 0.02": "cross_entropy.another-smoothing",
    }[column]
    protocol = PROTOCOLS[column]

    def finds(name, seed=0):
        call, _ = matrix.call_at(BUGS[name].point, seed)
        with BUGS[name].planted():
            return protocol(call, np.random.default_rng(seed))

    assert not finds(missed)
    assert finds("linear.bias-averaged")
    call, _ = matrix.call_at("linear", 0)
    assert not protocol(call, np.random.default_rng(0))


def test_the_matrix_has_a_row_for_each_bug_and_for_correct_code():
    bugs = [bug for name, bug in BUGS.items() if name.startswith("softmax.")]
    columns = ("combined", "direction", "ones")
    table = matrix.Table(columns)
    lines = [table.line(row) for row in matrix.rows(bugs, columns=columns)]
    assert lines[1].split() == ["softmax.divided-by-the-batch", "found", "found", "-"]
    assert lines[-1].split() == ["correct:", "softmax", ".", ".", "."]
    foot = table.foot()
    assert re.search(rf"found, of {len(bugs)} +{len(bugs)} +{len(bugs)} +\d", foot)
    assert re.search(r"false alarms, of 1 +0 +0 +0", foot)
    assert "ones missed" in foot and "direction missed" not in foot


def test_the_matrix_says_what_cannot_be_shown():
    bug = BUGS["dropout.never-off"]
    table = matrix.Table(("direction",))
    lines = [table.line(row) for row in matrix.rows([bug], columns=("direction",))]
    assert lines[0].split() == ["dropout.never-off", "."]
    assert f"dropout.never-off: {bug.invisible}" in table.foot()


def test_a_module_that_cannot_be_checked_any_more_counts_as_found(monkeypatch):
    def broken(x):
        raise FaceError("no")

    monkeypatch.setattr(softmax, "forward", broken)
    row = next(matrix.rows([BUGS["softmax.sign-turned"]], columns=("combined",)))
    assert row.found == {"combined": True}
