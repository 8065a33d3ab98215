"""The published forms of review dumps, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.formats.mapping import Mapping

STARS = (1.0, 5.0)
HALF_STARS = (0.5, 5.0)

_PLACES: dict[str, Any] = {
    "user": "1",
    "item": "2",
    "rating": "3",
    "time": "4",
    "columns": ("1", "2", "3", "4"),
}
_2014 = Mapping(
    "json", "reviewerID", "asin", "overall", "unixReviewTime",
    time_unit="s", rating_range=STARS, asin_items=True,
)  # fmt: skip
_2023 = replace(_2014, user="user_id", item="parent_asin", rating="rating", time="timestamp",
                time_unit="ms")  # fmt: skip
_CSV: dict[str, Any] = {"syntax": "csv", "separator": ",", "quoted": True}
_RATINGS = replace(_2014, **_CSV, **_PLACES)
_MOVIELENS = Mapping("csv", **_PLACES, rating_range=HALF_STARS)

_ALL = {
    "amazon-2014-json": _2014,
    "amazon-2014-json-array": replace(_2014, container="array"),
    "amazon-2014-loose": replace(_2014, syntax="python"),
    "amazon-2014-csv": replace(_2014, **_CSV),
    "amazon-2018-json": _2014,
    "amazon-2018-json-array": replace(_2014, container="array"),
    "amazon-2023-json": _2023,
    "amazon-2023-json-array": replace(_2023, container="array"),
    "amazon-2023-csv": replace(_2023, **_CSV),
    "amazon-ratings-user-item": _RATINGS,
    "amazon-ratings-item-user": replace(_RATINGS, user="2", item="1"),
    "recbole-inter": Mapping(
        "csv", "user_id", "item_id", "rating", "timestamp", separator="\t", time_unit=None
    ),
    "movielens-tab": replace(_MOVIELENS, separator="\t"),
    "movielens-dat": replace(_MOVIELENS, separator="::"),
    "movielens-csv": Mapping(
        **_CSV, user="userId", item="movieId", rating="rating", time="timestamp",
        rating_range=HALF_STARS,
    ),
    "author-lists": Mapping("lists", "1", "2", integer_ids=True),
}  # fmt: skip

FORMATS: dict[str, Mapping] = {name: replace(form, name=name) for name, form in _ALL.items()}
"""What ``--format`` takes. Columns and header of a csv with names, and a unit that is None, are
seen from the file."""
EMPTY = Mapping("none", name="empty")
"""A file without a record."""
MARKS_2018 = {"verified", "vote", "style", "image"}
"""Fields that tell a dump of 2018 from one of 2014."""
NEED_RATING = {"amazon-2023-csv", "movielens-csv"}
"""Whose header must name a rating: MovieLens' tags.csv has the same columns without."""


def known_format(name: str) -> Mapping:
    """The format called ``name``. Raises UsageError with the nearest names where there is none."""
    form = FORMATS.get(name)
    if form is None:
        raise UsageError(
            f"unknown format {name!r}: {nearest(name, FORMATS)}",
            where="--format",
            todo="leave --format out to have it seen from the content, or name one of: "
            + ", ".join(FORMATS),
        )
    return form
