"""What a check found: a line for each gradient, a line for each rule of the face, a verdict."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Gradient:
    """What was found about the gradient of one argument or parameter."""

    name: str  # "dx", or dotted: "dparams.query.weight"
    shape: tuple[int, ...]
    relative: float  # largest relative error of an entry, or error of a projection
    absolute: float  # the same, not divided by anything
    where: tuple[int, ...] | None  # the entry with the largest relative error; None: a projection
    analytic: float  # the value there according to backward
    numeric: float  # the value there as measured from forward
    zeros: float  # share of entries that are exactly 0 in what backward returned
    verdict: str  # "right", "wrong", "zero", "kink" or "jump"
    reason: str  # a sentence, empty where there is nothing to say
    ok: bool  # whether there is nothing to complain about
    kind: str = ""  # what a wrong gradient is: "factor", "sign", ... see ``diagnosis``
    kinks: int = 0  # kinks that lay within a step
    order: float | None = None  # of the remainder, for the Taylor method


@dataclass(frozen=True)
class Rule:
    """What was found about one rule of the face, such as "backward repeats itself"."""

    name: str
    ok: bool
    reason: str  # a sentence, empty where the rule is kept
    gradients: tuple[str, ...] = ()  # those that break it


@dataclass(frozen=True)
class Report:
    """The result of one check."""

    name: str  # of the operation
    method: str
    gradients: tuple[Gradient, ...]
    rules: tuple[Rule, ...]
    notes: tuple[str, ...] = ()  # how it was measured, where that needs a word

    @property
    def ok(self) -> bool:
        """Whether every gradient is right and every rule is kept."""
        return all(part.ok for part in (*self.gradients, *self.rules))

    @property
    def verdict(self) -> str:
        """``"right"``, ``"wrong"``, or ``"zero"`` if all that is amiss is a gradient of zeros."""
        if self.ok:
            return "right"
        amiss = {gradient.verdict for gradient in self.gradients if not gradient.ok}
        rules_are_kept = all(rule.ok for rule in self.rules)
        return "zero" if rules_are_kept and amiss == {"zero"} else "wrong"

    @property
    def relative(self) -> float:
        """The largest relative error of all."""
        return max((gradient.relative for gradient in self.gradients), default=0.0)

    @property
    def amiss(self) -> tuple[str, ...]:
        """The names of the gradients that are not right, or that break a rule."""
        names = [g.name for g in self.gradients if not g.ok]
        names += [name for rule in self.rules if not rule.ok for name in rule.gradients]
        return tuple(dict.fromkeys(names))

    def table(self) -> str:
        """For people: a line for each gradient, sentences below what is wrong, the verdict."""
        head = ("gradient", "shape", "relative", "absolute", "at", "backward", "measured", "zeros")
        rows = [_cells(gradient) for gradient in self.gradients]
        widths = [max(map(len, column)) for column in zip(head, *rows)]

        def line(cells, verdict):
            name, *others = (f"{c:>{w}}" for c, w in zip(cells, widths))
            return f"  {cells[0]:<{widths[0]}}  {'  '.join(others)}  {verdict}".rstrip()

        lines = [f"{self.name} ({self.method})", line(head, "verdict")]
        for gradient, row in zip(self.gradients, rows):
            lines.append(line(row, gradient.verdict))
            if gradient.reason:
                lines.append(f"      {gradient.reason}")
        for rule in self.rules:
            if not rule.ok:
                lines.append(f"  {rule.name}: no. {rule.reason}")
        kept = sum(rule.ok for rule in self.rules)
        if self.rules:
            lines.append(f"  {kept} of {len(self.rules)} rules of the face are kept")
        lines += [f"  {note}" for note in self.notes]
        lines.append(f"  {self._conclusion()}")
        return "\n".join(lines)

    def line(self) -> str:
        """For people in a hurry: everything in one line."""
        return (
            f"{self.name:<42}{len(self.gradients):4} gradients  {self.relative:8.1e}  "
            f"{self._conclusion()}"
        )

    def _conclusion(self) -> str:
        if not self.ok:
            rules = [rule.name for rule in self.rules if not rule.ok]
            parts = [f"{self.verdict}: {', '.join(self.amiss)}"] if self.amiss else []
            parts += [f"broken: {', '.join(rules)}"] if rules else []
            return "; ".join(parts)
        zero = sum(g.verdict == "zero" for g in self.gradients)
        kinks = sum(g.kinks for g in self.gradients)
        remarks = [f"{zero} zero, as declared"] if zero else []
        remarks += [f"{kinks} kink{'s' if kinks > 1 else ''} met"] if kinks else []
        return "right" + (f" ({', '.join(remarks)})" if remarks else "")

    def as_dict(self) -> dict[str, Any]:
        """For programs: plain dictionaries, lists, strings and numbers.

        A number that is not finite, which JSON does not have, becomes its name.
        """
        found = asdict(self) | {
            "ok": self.ok,
            "verdict": self.verdict,
            "relative": self.relative,
            "amiss": self.amiss,
        }
        return _plain(found)

    def raise_if_wrong(self) -> None:
        """Raise ``AssertionError`` with the table if anything is wrong, for use in tests."""
        if not self.ok:
            raise AssertionError("a gradient is wrong\n" + self.table())


def _cells(gradient: Gradient) -> tuple[str, ...]:
    at = "" if gradient.where is None else ", ".join(map(str, gradient.where))
    return (
        gradient.name,
        "x".join(map(str, gradient.shape)) or "scalar",
        f"{gradient.relative:.1e}",
        f"{gradient.absolute:.1e}",
        f"[{at}]" if gradient.where is not None else "-",
        "-" if math.isnan(gradient.analytic) else f"{gradient.analytic:.6g}",
        "-" if math.isnan(gradient.numeric) else f"{gradient.numeric:.6g}",
        f"{100 * gradient.zeros:.0f} %",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(child) for child in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
