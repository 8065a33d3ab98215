"""The forms a review dump comes in, as data: columns, time unit, rating range, how it is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mrl4rec.errors import UsageError, nearest

Syntax = Literal["json", "python", "csv", "tab", "colons", "pair", "none"]
Container = Literal["lines", "array", "author", "none"]
TimeUnit = Literal["s", "ms"]


@dataclass(frozen=True)
class Format:
    """One form of dump.

    ``user``, ``item``, ``rating`` and ``time`` are the names its columns have in the file (where it
    has no header, those that ``columns`` gives them); ``rating`` and ``time`` are None where the
    form has none.
    """

    name: str
    title: str
    """What it is, in words."""
    syntax: Syntax
    """How one record is spelled."""
    user: str = "user"
    item: str = "item"
    rating: str | None = "rating"
    time: str | None = "time"
    columns: tuple[str, ...] = ()
    """Columns by place, for delimited text without a header."""
    header: bool = False
    """The first line that is not blank names the columns."""
    required: tuple[str, ...] = ()
    """Columns a header must have."""
    container: Container = "lines"
    """lines: one record a line; array: elements of one JSON array; author: `user item item …`."""
    time_unit: TimeUnit | None = "s"
    """Seconds or milliseconds since 1970-01-01 UTC; None where the form has no time."""
    rating_range: tuple[float, float] | None = None
    """Smallest and largest rating, both allowed."""
    asin_items: bool = False
    """Item ids are ASINs or ten-digit ISBNs, so shorter numbers have lost their leading zeros."""
    integer_ids: bool = False
    """Ids are the integers of a split made elsewhere, kept as they are."""


BLANKS = " \t\r\n\u00a0\ufeff"
"""What is taken off both ends of a line and of a cell."""
STARS = (1.0, 5.0)
HALF_STARS = (0.5, 5.0)

_AMAZON_2014 = Format(
    name="amazon-2014-json",
    title="Amazon 2014, one JSON object a line (reviewerID, asin, overall, unixReviewTime)",
    syntax="json",
    user="reviewerID",
    item="asin",
    rating="overall",
    time="unixReviewTime",
    required=("reviewerID", "asin", "unixReviewTime"),
    rating_range=STARS,
    asin_items=True,
)
_AMAZON_2018 = replace(
    _AMAZON_2014,
    name="amazon-2018-json",
    title="Amazon 2018, one JSON object a line (as 2014, with verified, vote, style)",
)
_AMAZON_2023 = Format(
    name="amazon-2023-json",
    title="Amazon 2023, one JSON object a line (user_id, parent_asin, rating, timestamp in ms)",
    syntax="json",
    user="user_id",
    item="parent_asin",
    rating="rating",
    time="timestamp",
    required=("user_id", "parent_asin", "timestamp"),
    time_unit="ms",
    rating_range=STARS,
    asin_items=True,
)


def _array(form: Format) -> Format:
    title = form.title.replace("one JSON object a line", "one JSON array of objects")
    return replace(form, name=f"{form.name}-array", title=title, container="array")


_USER_FIRST = Format(
    name="amazon-ratings-user-item",
    title="Amazon ratings CSV without header: user,item,rating,timestamp (2014)",
    syntax="csv",
    columns=("user", "item", "rating", "time"),
    rating_range=STARS,
    asin_items=True,
)

_ALL = (
    _AMAZON_2014,
    _array(_AMAZON_2014),
    replace(
        _AMAZON_2014,
        name="amazon-2014-loose",
        title="Amazon 2014, one Python dict literal a line (single quotes, u'', True, None)",
        syntax="python",
    ),
    replace(
        _AMAZON_2014,
        name="amazon-2014-csv",
        title="Amazon 2014 columns as CSV with header (reviewerID,asin,unixReviewTime[,overall])",
        syntax="csv",
        header=True,
    ),
    _AMAZON_2018,
    _array(_AMAZON_2018),
    _AMAZON_2023,
    _array(_AMAZON_2023),
    replace(
        _AMAZON_2023,
        name="amazon-2023-csv",
        title="Amazon 2023 benchmark CSV with header (user_id,parent_asin,rating,timestamp in ms)",
        syntax="csv",
        header=True,
        required=("user_id", "parent_asin", "rating", "timestamp"),
    ),
    _USER_FIRST,
    replace(
        _USER_FIRST,
        name="amazon-ratings-item-user",
        title="Amazon ratings CSV without header: item,user,rating,timestamp (2018)",
        columns=("item", "user", "rating", "time"),
    ),
    Format(
        name="recbole-inter",
        title="RecBole .inter: tab-separated, typed header (user_id:token, item_id:token, …)",
        syntax="tab",
        user="user_id",
        item="item_id",
        time="timestamp",
        header=True,
        required=("user_id", "item_id"),
        rating_range=HALF_STARS,
    ),
    Format(
        name="movielens-tab",
        title="MovieLens u.data: user, item, rating, timestamp, tab-separated",
        syntax="tab",
        columns=("user", "item", "rating", "time"),
        rating_range=HALF_STARS,
    ),
    Format(
        name="movielens-dat",
        title="MovieLens ratings.dat: user::item::rating::timestamp",
        syntax="colons",
        columns=("user", "item", "rating", "time"),
        rating_range=HALF_STARS,
    ),
    Format(
        name="movielens-csv",
        title="MovieLens ratings.csv with header (userId,movieId,rating,timestamp)",
        syntax="csv",
        user="userId",
        item="movieId",
        time="timestamp",
        header=True,
        required=("userId", "movieId", "rating", "timestamp"),
        rating_range=HALF_STARS,
    ),
    Format(
        name="author-lists",
        title="the paper authors' form: `user item item …`, integer ids, no time, no rating",
        syntax="pair",
        container="author",
        columns=("user", "item"),
        rating=None,
        time=None,
        time_unit=None,
        integer_ids=True,
    ),
)

FORMATS: dict[str, Format] = {form.name: form for form in _ALL}
"""Every form that ``--format`` takes, by name."""

EMPTY = Format(
    name="empty",
    title="a file without a record",
    syntax="none",
    container="none",
    time=None,
    rating=None,
)
"""What a file without a single record is; it cannot be asked for."""


def known_format(name: str) -> Format:
    """The form called ``name``. Raises UsageError with the nearest names where there is none."""
    form = FORMATS.get(name)
    if form is None:
        raise UsageError(
            f"unknown format {name!r}: {nearest(name, FORMATS)}",
            where="--format",
            todo="leave --format out to have it seen from the content, or name one of: "
            + ", ".join(FORMATS),
        )
    return form
