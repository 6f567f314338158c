"""Going on with texts: one token after the other, for a batch of prompts of any lengths.

What a prompt gets does not depend on the others in its batch, nor on whether keys and values are
kept, but for rounding.

**A text longer than the context.** The model looks at no more than C tokens (the ``max_length`` of
its own settings; the one in ``Settings`` below is the length of a text). Of a text that grows
beyond, the oldest ``C // 2`` that it looks at go out of view, as often as need be (``window`` says
where it looks): the rest is read anew, at other positions, and then there is room again. Dropping
a single token each time would mean to read everything anew for every token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from numpy_transformer.generation import incremental_lm, sampling
from numpy_transformer.models.causal_lm import Config
from numpy_transformer.parameters import Tree

OVERFLOWS = ("slide", "refuse")
MAX_NEW_TOKENS = 256  # where nothing is said of it


@dataclass(frozen=True)
class Settings:
    """How to go on; checked when made.

    Names and defaults are those of Hugging Face's pipeline; ``overflow`` is our own. Lengths are in
    tokens: ``max_length`` and ``min_length`` count the prompt, the other two do not.

    >>> Settings(temperature=0.0)
    Traceback (most recent call last):
        ...
    ValueError: temperature is 0.0, expected above 0; for the likeliest token give do_sample=False
    """

    max_new_tokens: int | None = None  # the most tokens to add; 256 where neither is given
    max_length: int | None = None  # the most tokens in all, instead
    min_new_tokens: int = 0  # before this many, the end of the text is not chosen
    min_length: int = 0  # the same, with the prompt
    do_sample: bool = True  # draw at random; otherwise greedy: always the likeliest token
    temperature: float = 0.7  # divides the logits
    top_k: int = 50  # draw from this many of the likeliest tokens; 0: from all
    top_p: float = 1.0  # draw from the likeliest tokens with this probability together; 1: from all
    repetition_penalty: float = 1.0  # above 1: what is in the text already becomes less likely
    overflow: str = "slide"  # beyond the context: "slide" on or "refuse"
    use_cache: bool = True  # keep keys and values; without, the same, and slower

    def __post_init__(self) -> None:
        """Check every setting."""
        for name, least in (
            ("max_new_tokens", 1),
            ("max_length", 1),
            ("min_new_tokens", 0),
            ("min_length", 0),
            ("top_k", 0),
        ):
            value = getattr(self, name)
            if value is None and name in ("max_new_tokens", "max_length"):
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} is {value!r}, expected a whole number, at least {least}")
            object.__setattr__(self, name, int(value))  # NumPy's small integers would overflow
        if self.max_new_tokens is not None and self.max_length is not None:
            raise ValueError(
                f"max_new_tokens is {self.max_new_tokens} and max_length {self.max_length}; "
                "give one of them"
            )
        if self.shortest(0) > self.longest(0):
            raise ValueError(
                f"a text shall have at least {self.shortest(0)} tokens, but at most "
                f"{self.longest(0)}: give a larger max_length or max_new_tokens"
            )
        for name in ("temperature", "top_p", "repetition_penalty"):
            if not isinstance(getattr(self, name), Real):
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected a number")
        for name in ("do_sample", "use_cache"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected True or False")
        if not 0 < self.temperature < np.inf:
            raise ValueError(
                f"temperature is {self.temperature}, expected above 0; "
                "for the likeliest token give do_sample=False"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, expected above 0 and at most 1")
        if not 0 < self.repetition_penalty < np.inf:
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}, expected above 0")
        if self.overflow not in OVERFLOWS:
            raise ValueError(f"overflow is {self.overflow!r}, expected one of {OVERFLOWS}")

    def longest(self, prompt_length: int) -> int:
        """The most tokens that a text may have, prompt included."""
        if self.max_length is not None:
            return self.max_length
        new = MAX_NEW_TOKENS if self.max_new_tokens is None else self.max_new_tokens
        return prompt_length + new

    def shortest(self, prompt_length: int) -> int:
        """The fewest tokens that a text may have, prompt included."""
        return max(prompt_length + self.min_new_tokens, self.min_length)


def window(length: int, context: int) -> int:
    """The first token that the model looks at, of a text of ``length`` tokens.

    >>> [window(length, context=8) for length in (8, 9, 12, 13, 17)]
    [0, 4, 4, 8, 12]
    """
    step = max(1, context // 2)
    return max(0, -(-(length - context) // step)) * step


def generate(
    prompts: Sequence[Sequence[int]],
    params: Tree,
    config: Config,
    settings: Settings,
    rngs: Sequence[np.random.Generator],
    end: int | None = None,
    stop: Callable[[int, int], bool] = lambda row, token: False,
) -> Iterator[tuple[int, int]]:
    """The tokens that follow, as they come: pairs of the number of the prompt and a token.

    A prompt has its last token when that is ``end``, when ``stop(row, token)`` says so, or when it
    is as long as the settings allow. Each prompt has a random generator of its own; greedy choices
    need none.

    Raises ``ValueError`` before anything is computed: for a prompt without tokens, with ids that
    are not in the vocabulary, or too long.

    >>> from numpy_transformer.models import causal_lm
    >>> config = causal_lm.preset("nano", vocab=20)
    >>> params = causal_lm.init(np.random.default_rng(0), config)
    >>> greedy = Settings(max_new_tokens=2, do_sample=False)
    >>> found = list(generate([[1, 2, 3], [4]], params, config, greedy, rngs=[]))
    >>> [row for row, token in found]
    [0, 1, 0, 1]
    """
    if settings.do_sample and len(rngs) < len(prompts):
        raise ValueError(f"{len(rngs)} random generators for {len(prompts)} prompts")
    _check(prompts, config, settings)
    return _generate(prompts, params, config, settings, rngs, end, stop)


def _generate(prompts, params, config, settings, rngs, end, stop) -> Iterator[tuple[int, int]]:
    texts = [list(prompt) for prompt in prompts]
    limits = [settings.longest(len(prompt)) for prompt in prompts]
    active = list(range(len(texts)))  # the prompts that are not at their end
    windows: dict[int, int] = {}  # where the window of each begins
    while active:
        before = windows
        windows = {row: window(len(texts[row]), config.max_length) for row in active}
        moved = any(windows[row] != before.get(row) for row in active)
        if moved or not settings.use_cache:
            unread = [texts[row][windows[row] :] for row in active]
            ids, first = _left_padded(unread)
            # A row grows until it is as long as it may get, or fills the context and is read anew.
            growth = (
                min(limits[row] - len(texts[row]), config.max_length - len(ids_of_row))
                for row, ids_of_row in zip(active, unread)
            )
            state = incremental_lm.start(first, ids.shape[1] + max(growth), params, config)
        else:
            ids = np.array([[texts[row][-1]] for row in active])  # (B, 1)
        logits, state = incremental_lm.extend(ids, state, params, config)  # (B, V)
        if end is not None:
            too_short = [len(texts[row]) < settings.shortest(len(prompts[row])) for row in active]
            logits[too_short, end] = -np.inf
        chosen = _choose(logits, [texts[row] for row in active], settings, rngs, active)
        going_on = []
        for i, (row, token) in enumerate(zip(active, chosen.tolist())):
            texts[row].append(token)
            ended = token == end or stop(row, token)
            yield row, token
            if not ended and len(texts[row]) < limits[row]:
                going_on.append(i)
        if len(going_on) < len(active):
            active = [active[i] for i in going_on]
            state = incremental_lm.select(state, np.array(going_on, int))


def _left_padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different lengths as one array ``(B, T)``, and where each begins, ``(B,)``."""
    longest = max(map(len, rows))
    first = np.array([longest - len(row) for row in rows])  # (B,)
    ids = np.zeros((len(rows), longest), int)  # (B, T); what stands in the padding does not matter
    for row, start, values in zip(ids, first, rows):
        row[start:] = values
    return ids, first


def _choose(logits, seen, settings, rngs, active) -> np.ndarray:
    """The next token of each row, ``(B,)``."""
    if settings.repetition_penalty != 1:
        logits = sampling.repetition_penalty(logits, seen, settings.repetition_penalty)
    if not settings.do_sample:
        return logits.argmax(axis=-1)
    logits = sampling.temperature(logits, settings.temperature)
    if settings.top_k:
        logits = sampling.top_k(logits, settings.top_k)
    if settings.top_p < 1:
        logits = sampling.top_p(logits, settings.top_p)
    return sampling.draw(logits, [rngs[row] for row in active])


def _check(prompts, config, settings) -> None:
    for number, prompt in enumerate(prompts):
        if not len(prompt):
            raise ValueError(f"prompt {number} has no tokens; there is nothing to go on from")
        if min(prompt) < 0 or max(prompt) >= config.vocab:
            raise ValueError(
                f"prompt {number} has ids from {min(prompt)} to {max(prompt)}, "
                f"but the model knows 0 to {config.vocab - 1}"
            )
        longest = settings.longest(len(prompt))
        if longest <= len(prompt):
            raise ValueError(
                f"prompt {number} has {len(prompt)} tokens, so there is none to add with "
                f"max_length={settings.max_length}; give a larger one, or max_new_tokens"
            )
        if settings.overflow == "refuse" and longest > config.max_length:
            raise ValueError(
                f"prompt {number} has {len(prompt)} tokens, and the text may get {longest} long, "
                f"but the model looks at {config.max_length}; shorten it, ask for fewer, or give "
                "overflow='slide'"
            )
