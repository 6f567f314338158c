"""The task ``dates``: dates as people write them, to ISO 8601 ("3rd of February '98", 1998-02-03).

Copying does not solve it: the year has to be moved to the front, the name of a month looked up, a
century filled in and a weekday dropped.

Two rules make every source mean one date only:

1. A year of two digits from 00 to 29 is in the 2000s, from 30 to 99 in the 1900s. So the task
   covers 1930-01-01 to 2029-12-31.
2. Where day and month are both numerals, the day comes before the month ("3/2/1998" is the third
   of February), except where a year of four digits comes first: there the order is year, month,
   day. A year of two digits never comes first.

A weekday is always the right one. Names are English and stand in this file, because ``strftime``
follows the locale of the computer.

>>> day = date(2007, 9, 21)
>>> [FORMATS[name](day) for name in ("3 Feb. 1998", "Tuesday, February 3rd, 1998", "03.02.98")]
['21 Sept. 2007', 'Friday, September 21st, 2007', '21.09.07']
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np

FIRST_DAY = date(1930, 1, 1)
LAST_DAY = date(2029, 12, 31)
DAYS = (LAST_DAY - FIRST_DAY).days + 1

WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
# With a full stop, May, June and July are usually not shortened, and September keeps four letters.
STOPPED_MONTHS = "Jan. Feb. Mar. Apr. May June July Aug. Sept. Oct. Nov. Dec.".split()

_UNITS = "first second third fourth fifth sixth seventh eighth ninth".split()
_TEENS = (
    "tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth "
    "nineteenth"
).split()
ORDINAL_WORDS = (  # "first" to "thirty-first"
    [*_UNITS, *_TEENS, "twentieth"]
    + [f"twenty-{unit}" for unit in _UNITS]
    + ["thirtieth", "thirty-first"]
)

# The fields of a template are the parts of a date, see _parts; their case is the case of the text.
TEMPLATES = (
    # Numerals, day first.
    "{d}/{m}/{yyyy}",
    "{d}/{m}/{yy}",
    "{dd}/{mm}/{yyyy}",
    "{dd}/{mm}/{yy}",
    "{d}.{m}.{yyyy}",
    "{d}.{m}.{yy}",
    "{dd}.{mm}.{yyyy}",
    "{dd}.{mm}.{yy}",
    "{d}. {m}. {yyyy}",
    "{d}-{m}-{yyyy}",
    "{d}-{m}-{yy}",
    "{dd}-{mm}-{yyyy}",
    "{dd}-{mm}-{yy}",
    "{dd} {mm} {yyyy}",
    "{dd} {mm} {yy}",
    "{Wkd} {dd}/{mm}/{yyyy}",
    "{wkd} {d}/{m}/{yy}",
    "{Weekday}, {d}.{m}.{yyyy}",
    # Numerals, a year of four digits first.
    "{yyyy}-{mm}-{dd}",
    "{yyyy}-{m}-{d}",
    "{yyyy}/{mm}/{dd}",
    "{yyyy}/{m}/{d}",
    "{yyyy}.{mm}.{dd}",
    "{yyyy} {mm} {dd}",
    "{yyyy}{mm}{dd}",
    "{Wkd} {yyyy}-{mm}-{dd}",
    # A day, then the name of a month.
    "{d} {Month} {yyyy}",
    "{d} {month} {yyyy}",
    "{d} {month} '{yy}",
    "{dd} {MONTH} {yyyy}",
    "{d}. {Month} {yyyy}",
    "{d} {Mon} {yyyy}",
    "{d} {mon} {yy}",
    "{d} {Stopped} {yyyy}",
    "{d} {stopped} '{yy}",
    "{dd} {MON} {yy}",
    "{dd}{MON}{yyyy}",
    "{dd}-{Mon}-{yyyy}",
    "{dd}-{MON}-{yy}",
    "{dd}/{Mon}/{yyyy}",
    "{dth} {Month} {yyyy}",
    "{dth} {month} '{yy}",
    "{dth} {Mon} {yy}",
    "{dth} of {Month} {yyyy}",
    "{dth} of {month}, {yyyy}",
    "the {dth} of {Month}, {yyyy}",
    "the {third} of {month} {yyyy}",
    "{Weekday}, {d} {Month} {yyyy}",
    "{weekday} {d} {month} {yyyy}",
    "{Weekday} {dth} {Month} {yyyy}",
    "{Weekday}, {dth} of {Month} {yyyy}",
    "{weekday} the {dth} of {month} '{yy}",
    "{Wkd}, {dd} {Mon} {yyyy}",
    "{Wkd} {d} {Stopped} {yyyy}",
    "{wkd} {d} {mon} {yy}",
    "{WKD} {dd} {MON} {yyyy}",
    # The name of a month, then a day.
    "{Month} {d}, {yyyy}",
    "{month} {d} {yyyy}",
    "{MONTH} {d}, {yyyy}",
    "{Month} {d}, '{yy}",
    "{Month} {dth}, {yyyy}",
    "{month} {dth} {yyyy}",
    "{Month} the {dth}, {yyyy}",
    "{month} the {third}, {yyyy}",
    "{Mon} {d}, {yyyy}",
    "{Mon} {dd} {yyyy}",
    "{mon} {d} '{yy}",
    "{mon} {dth} {yyyy}",
    "{Stopped} {d}, {yyyy}",
    "{stopped} {dth}, '{yy}",
    "{Mon}-{dd}-{yyyy}",
    "{Weekday}, {Month} {d}, {yyyy}",
    "{Weekday}, {Month} {dth}, {yyyy}",
    "{weekday}, {month} {d} {yyyy}",
    "{Wkd}, {Stopped} {d}, {yyyy}",
    "{wkd} {mon} {d} {yyyy}",
    # A year, then the name of a month.
    "{yyyy} {Month} {d}",
    "{yyyy}, {Month} {dth}",
    "{yyyy}-{Mon}-{dd}",
    "{yyyy} {mon} {dd}",
)


def ordinal(number: int) -> str:
    """Return a whole number above 0 as an English ordinal in figures.

    >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 31)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '13th', '21st', '22nd', '23rd', '31st']
    """
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}" + {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _parts(day: date) -> dict[str, str]:
    """Return every part of a date that a template may name."""
    weekday = WEEKDAYS[day.weekday()]
    month = MONTHS[day.month - 1]
    stopped = STOPPED_MONTHS[day.month - 1]
    return {
        "d": f"{day.day}",
        "dd": f"{day.day:02}",
        "dth": ordinal(day.day),
        "third": ORDINAL_WORDS[day.day - 1],
        "m": f"{day.month}",
        "mm": f"{day.month:02}",
        "yy": f"{day.year % 100:02}",
        "yyyy": f"{day.year}",
        "Weekday": weekday,
        "weekday": weekday.lower(),
        "Wkd": weekday[:3],
        "wkd": weekday[:3].lower(),
        "WKD": weekday[:3].upper(),
        "Month": month,
        "month": month.lower(),
        "MONTH": month.upper(),
        "Mon": month[:3],
        "mon": month[:3].lower(),
        "MON": month[:3].upper(),
        "Stopped": stopped,
        "stopped": stopped.lower(),
    }


def make_format(template: str) -> Callable[[date], str]:
    """Return the function that writes a date by a template; see ``TEMPLATES`` for the fields.

    >>> make_format("{Weekday}, {dth} of {Month} '{yy}")(date(1998, 2, 3))
    "Tuesday, 3rd of February '98"
    """
    return lambda day: template.format_map(_parts(day))


# The name of a format is what it writes for the third of February 1998: a date whose day, month,
# padding and abbreviation can all be told apart.
EXAMPLE = date(1998, 2, 3)
FORMATS: dict[str, Callable[[date], str]] = {
    write(EXAMPLE): write for write in map(make_format, TEMPLATES)
}


def pairs(
    train: int, held_out: int, seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return two lists of (source, target): ``train`` pairs to learn from, ``held_out`` to test.

    No calendar date is in both lists, so a held-out target was never seen in training in any
    format. The held-out dates are distinct, one pair each, and depend on ``held_out`` and ``seed``
    only. Training pairs are drawn evenly over the other dates and over the formats; the same date
    in the same format comes twice only if there are not enough combinations.

    Raises ``ValueError`` for a count below 0, and if no date would be left to train on.

    >>> train, held_out = pairs(train=500, held_out=100, seed=0)
    >>> train[0]
    ('16.6.2005', '2005-06-16')
    >>> {target for _, target in train} & {target for _, target in held_out}
    set()
    """
    if train < 0 or held_out < 0:
        raise ValueError(
            f"dates: train={train} and held_out={held_out}, expected 0 or more; "
            "give the number of pairs wanted in each list"
        )
    if held_out > DAYS - 1:
        raise ValueError(
            f"dates: held_out={held_out}, expected at most {DAYS - 1}: there are {DAYS} dates "
            f"from {FIRST_DAY} to {LAST_DAY}, and one must be left to train on; hold out fewer"
        )
    rng = np.random.default_rng(seed)
    formats = list(FORMATS.values())
    days = FIRST_DAY.toordinal() + rng.permutation(DAYS)  # (DAYS,)
    held_out_days, train_days = days[:held_out], days[held_out:]
    held_out_formats = rng.integers(len(formats), size=held_out)  # (held_out,)

    # One number stands for a date and a format together; drawn without putting back, it cannot
    # come twice.
    combinations = len(train_days) * len(formats)
    drawn = rng.choice(combinations, size=train, replace=train > combinations)  # (train,)
    drawn_days, drawn_formats = np.divmod(drawn, len(formats))

    def write(ordinals: np.ndarray, which: np.ndarray) -> list[tuple[str, str]]:
        dates = map(date.fromordinal, ordinals.tolist())
        return [(formats[i](day), day.isoformat()) for day, i in zip(dates, which.tolist())]

    return write(train_days[drawn_days], drawn_formats), write(held_out_days, held_out_formats)
