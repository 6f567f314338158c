"""The task ``dates``: every way of writing a date must mean one date, the right one."""

import re
from collections import Counter
from datetime import date, timedelta

import pytest

from numpy_transformer.data import dates

# Whole years. Days, months and years of two digits overlap most in 1930, 1931 and 2000 to 2029;
# 1944, 2000, 2004, 2012 and 2028 are leap years.
YEARS = (1930, 1931, 1944, 1969, 1999, 2000, 2001, 2002, 2004, 2010, 2012, 2028, 2029)
EVERY_DAY = [
    day
    for year in YEARS
    for day in (date(year, 1, 1) + timedelta(i) for i in range(366))
    if day.year == year
]
# All over the calendar; 239 days is no whole number of weeks, months or years.
SOME_DAYS = [dates.FIRST_DAY + timedelta(i) for i in range(0, dates.DAYS, 239)] + [dates.LAST_DAY]

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def first_with_two_meanings(formats, days):
    """Return a string that stands for two of the days, upper and lower case taken as one."""
    meaning = {}
    for write in formats:
        for day in days:
            source = write(day).casefold()
            if meaning.setdefault(source, day) != day:
                return source
    return None


def read(source):
    """Read a date back by the two rules of the module's docstring: (date, weekday or None)."""
    numerals, month, day, weekday = [], None, None, None
    for word in re.findall(r"\d+|[a-z]+(?:-[a-z]+)?", source.lower()):
        if word.isdigit():
            numerals.append(word)
        elif word in dates.ORDINAL_WORDS:
            day = dates.ORDINAL_WORDS.index(word) + 1
        elif word[:3] in MONTHS:
            month = MONTHS.index(word[:3]) + 1
        elif word[:3] in WEEKDAYS:
            weekday = WEEKDAYS.index(word[:3])
        else:
            assert word in ("the", "of", "st", "nd", "rd", "th"), source

    if len(numerals[0]) == 8:
        numerals = [numerals[0][:4], numerals[0][4:6], numerals[0][6:]]
    year_first = len(numerals[0]) == 4
    order = ["year", "month", "day"] if year_first else ["day", "month", "year"]
    if month is not None:
        order.remove("month")
    if day is not None:
        order.remove("day")
    assert len(order) == len(numerals), source
    number = dict(zip(order, map(int, numerals)))
    year = number["year"]
    if len(numerals[order.index("year")]) == 2:
        year += 2000 if year <= 29 else 1900
    return date(year, month or number["month"], day or number["day"]), weekday


def test_formats_are_many_and_distinct():
    assert len(dates.FORMATS) >= 45
    assert len(dates.FORMATS) == len(dates.TEMPLATES)  # no two wrote the same name
    assert len(set(dates.TEMPLATES)) == len(dates.TEMPLATES)


def test_a_format_is_named_by_what_it_writes():
    for name, write in dates.FORMATS.items():
        assert write(date(1998, 2, 3)) == name


def test_no_string_stands_for_two_dates():
    assert len(EVERY_DAY) == 365 * len(YEARS) + 5
    assert first_with_two_meanings(dates.FORMATS.values(), EVERY_DAY) is None


@pytest.mark.parametrize("template", ["{m}/{d}/{yyyy}", "{yy}-{mm}-{dd}", "{d} {Month}"])
def test_an_ambiguous_format_would_be_found(template):
    formats = [*dates.FORMATS.values(), dates.make_format(template)]
    assert first_with_two_meanings(formats, EVERY_DAY[-800:]) is not None


@pytest.mark.parametrize("name", dates.FORMATS)
def test_the_two_rules_are_enough_to_read_every_format(name):
    for day in SOME_DAYS:
        read_day, read_weekday = read(dates.FORMATS[name](day))
        assert read_day == day
        assert read_weekday in (None, day.weekday())


@pytest.mark.parametrize(
    ("name", "day", "source"),
    [
        # Weekdays, from history.
        ("Tuesday, 3 February 1998", date(1969, 7, 20), "Sunday, 20 July 1969"),
        ("Tuesday, 3 February 1998", date(1963, 11, 22), "Friday, 22 November 1963"),
        ("Tuesday, February 3, 1998", date(1989, 11, 9), "Thursday, November 9, 1989"),
        ("Tue, 03 Feb 1998", date(2000, 1, 1), "Sat, 01 Jan 2000"),
        ("Tue 1998-02-03", date(1930, 1, 1), "Wed 1930-01-01"),
        ("TUE 03 FEB 1998", date(2029, 12, 31), "MON 31 DEC 2029"),
        ("tuesday the 3rd of february '98", date(2000, 2, 29), "tuesday the 29th of february '00"),
        # Two-digit years.
        ("03.02.98", date(1930, 1, 2), "02.01.30"),
        ("03.02.98", date(2029, 1, 2), "02.01.29"),
        ("03.02.98", date(1999, 12, 31), "31.12.99"),
        ("3/2/98", date(2000, 10, 11), "11/10/00"),
        ("3 feb. '98", date(2005, 5, 6), "6 may '05"),
        # Day before month, except after a year of four digits.
        ("3/2/1998", date(2011, 12, 10), "10/12/2011"),
        ("03 02 1998", date(2011, 12, 10), "10 12 2011"),
        ("1998/02/03", date(2011, 12, 10), "2011/12/10"),
        ("1998-2-3", date(2011, 1, 9), "2011-1-9"),
        ("19980203", date(2011, 1, 9), "20110109"),
        # Names of months.
        ("3 Feb. 1998", date(2007, 9, 21), "21 Sept. 2007"),
        ("Feb. 3, 1998", date(2007, 6, 1), "June 1, 2007"),
        ("Feb 3, 1998", date(2007, 6, 1), "Jun 1, 2007"),
        ("03FEB1998", date(1974, 8, 9), "09AUG1974"),
        ("1998 feb 03", date(1974, 4, 5), "1974 apr 05"),
        # Ordinals.
        ("3rd of February 1998", date(1955, 3, 22), "22nd of March 1955"),
        ("february the third, 1998", date(1955, 3, 22), "march the twenty-second, 1955"),
        ("the third of february 1998", date(1955, 1, 31), "the thirty-first of january 1955"),
        ("the third of february 1998", date(1955, 1, 12), "the twelfth of january 1955"),
    ],
)
def test_examples_written_by_hand(name, day, source):
    assert dates.FORMATS[name](day) == source


def test_ordinals():
    assert [dates.ordinal(number) for number in range(1, 32)] == (
        "1st 2nd 3rd 4th 5th 6th 7th 8th 9th 10th 11th 12th 13th 14th 15th 16th 17th 18th 19th "
        "20th 21st 22nd 23rd 24th 25th 26th 27th 28th 29th 30th 31st"
    ).split()
    assert len(dates.ORDINAL_WORDS) == len(set(dates.ORDINAL_WORDS)) == 31
    for number, word in ((1, "first"), (9, "ninth"), (20, "twentieth"), (30, "thirtieth")):
        assert dates.ORDINAL_WORDS[number - 1] == word


def test_targets_are_the_dates_of_their_sources():
    train, held_out = dates.pairs(train=4000, held_out=1000, seed=3)
    assert len(train) == 4000
    assert len(held_out) == 1000
    for source, target in train + held_out:
        day = date.fromisoformat(target)
        assert len(target) == 10
        assert dates.FIRST_DAY <= day <= dates.LAST_DAY
        assert read(source)[0] == day


def test_no_date_is_on_both_sides():
    train, held_out = dates.pairs(train=20000, held_out=2000, seed=1)
    held_out_dates = {target for _, target in held_out}
    assert len(held_out_dates) == 2000  # distinct
    assert not held_out_dates & {target for _, target in train}


def test_years_are_drawn_evenly_and_every_format_is_drawn():
    train, held_out = dates.pairs(train=20000, held_out=2000, seed=1)
    for pairs in (train, held_out):
        shares = Counter(target[:4] for _, target in pairs)
        assert len(shares) == 100
        # The counts spread by about the root of their mean; allow five times that.
        mean = len(pairs) / 100
        assert max(abs(count - mean) for count in shares.values()) < 5 * mean**0.5
        written = Counter(
            name
            for source, target in pairs[:1000]
            for name, write in dates.FORMATS.items()
            if write(date.fromisoformat(target)) == source
        )
        assert written.keys() == dates.FORMATS.keys()


def test_the_seed_decides():
    assert dates.pairs(300, 50, seed=5) == dates.pairs(300, 50, seed=5)
    train, held_out = dates.pairs(300, 50, seed=5)
    other_train, other_held_out = dates.pairs(300, 50, seed=6)
    assert train != other_train
    assert held_out != other_held_out


def test_held_out_pairs_do_not_depend_on_the_number_of_training_pairs():
    assert dates.pairs(10, 50, seed=5)[1] == dates.pairs(1000, 50, seed=5)[1]


def test_the_ends_of_what_is_possible():
    assert dates.pairs(0, 0, seed=0) == ([], [])
    train, held_out = dates.pairs(200, dates.DAYS - 1, seed=0)
    assert len({target for _, target in train}) == 1  # the one date that is left
    assert len(train) == 200  # more than there are formats, so some come twice
    assert len({target for _, target in held_out}) == dates.DAYS - 1 == 36524


@pytest.mark.parametrize(
    ("train", "held_out", "message"),
    [
        (-1, 5, "train=-1 and held_out=5, expected 0 or more"),
        (5, -1, "train=5 and held_out=-1, expected 0 or more"),
        (5, 36525, "held_out=36525, expected at most 36524"),
    ],
)
def test_impossible_counts_are_refused(train, held_out, message):
    with pytest.raises(ValueError, match=message):
        dates.pairs(train, held_out, seed=0)
