"""What the times of a column are: a unit of numbers, ISO 8601, or a strptime pattern."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product

from mrl4rec.core.times import EARLIEST
from mrl4rec.formats.mapping import ISO, UNITS, TimeUnit

LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Between these a number in seconds cannot be milliseconds, and so on."""
SURE = 0.95
"""Share of the values that must agree."""
LONGEST = 64
MOST = 2000
"""Values that are looked at."""
_NUMBER = re.compile(r"[+-]?(\d{1,300}(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?", re.ASCII
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_DATES = ("%Y/%m/%d", "%Y.%m.%d", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y")
_PATTERNS = (
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S GMT",
    "%Y-%m-%d %H:%M:%S UTC",
    "%m %d, %Y",
    *map("".join, product(_DATES, _CLOCKS)),
)
_TWO_WAYS = [
    (f"%d{mark}%m{mark}%Y{clock}", f"%m{mark}%d{mark}%Y{clock}")
    for mark, clock in product("/.-", _CLOCKS)
]


class Unclear(ValueError):
    """The values do not tell; ``patterns`` are what they may be, if anything."""

    def __init__(self, why: str, patterns: Sequence[str] = ()) -> None:
        super().__init__(why)
        self.patterns = tuple(patterns)


def time_of(values: Sequence[str]) -> tuple[TimeUnit | None, str | None]:
    """The unit of numbers, or the pattern of text. Raises Unclear."""
    values = [value[:LONGEST] for value in values[:MOST]]
    if not values:
        raise Unclear("it holds no value in the sample")
    sure = SURE * len(values)
    numbers = [float(value) for value in values if is_number(value)]
    if len(numbers) >= sure:
        dates = [v for v in values if re.fullmatch(r"(199|20\d)\d{5}", v) and parses(v, "%Y%m%d")]
        return (None, "%Y%m%d") if len(dates) >= sure else (_unit(numbers), None)
    return None, ISO if _count(values, ISO) >= sure else _pattern(values)


def is_number(text: str) -> bool:
    """Whether the text is one finite number."""
    return _NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def parses(value: str, pattern: str) -> bool:
    """Whether the value is a time in the pattern. Raises ValueError where it is no pattern."""
    if pattern == ISO:
        return _ISO.fullmatch(value) is not None
    try:
        datetime.strptime(value, pattern)
    except ValueError as error:
        if "directive" in str(error) or "stray %" in str(error):
            raise
        return False
    except re.error as error:  # a directive that comes twice
        raise ValueError(str(error)) from error
    return True


def _unit(numbers: Sequence[float]) -> TimeUnit:
    positive = [number for number in numbers if number > 0]
    if not positive:
        raise Unclear("none of its numbers is above 0")
    first, last = EARLIEST.timestamp(), LATEST.timestamp()
    counts = {
        unit: sum(first <= number / 1000**power < last for number in positive)
        for power, unit in enumerate(UNITS)
    }
    unit = max(counts, key=lambda name: counts[name])
    if counts[unit] >= SURE * len(positive):
        return unit
    mixed = [name for name in counts if counts[name]]
    if len(mixed) > 1:
        raise Unclear("some of its numbers are " + ", others ".join(mixed))
    raise Unclear("its numbers are no times since 1970 in s, ms, us or ns from 1990 on")


def _pattern(values: Sequence[str]) -> str:
    for pattern in _PATTERNS:
        if _fits(values, pattern):
            return pattern
    for pair in _TWO_WAYS:
        fitting = [pattern for pattern in pair if _fits(values, pattern)]
        counts = [_count(values, pattern) for pattern in fitting]
        if len(fitting) == 2 and counts[0] == counts[1]:
            raise Unclear("day and month could be either way round", pair)
        if fitting:
            return fitting[counts.index(max(counts))]
    raise Unclear("they are in no pattern that is known")


def _fits(values: Sequence[str], pattern: str) -> bool:
    few = values[:20]
    return _count(few, pattern) >= 0.75 * len(few) and _count(values, pattern) >= SURE * len(values)


def _count(values: Sequence[str], pattern: str) -> int:
    return sum(parses(value, pattern) for value in values)
