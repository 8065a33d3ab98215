"""The first records of a file as columns: what each may stand for, and refusals that show them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mrl4rec.core.errors import UsageError
from mrl4rec.formats.mapping import ROLES, Mapping
from mrl4rec.formats.options import ReadOptions
from mrl4rec.formats.times import Unclear, is_number, time_of

MOST_COLUMNS = 1000
SHOWN_COLUMNS = 30
SURE = 0.9
LIST = "[…]"
"""The text of a value that is a list."""
_NAMES = {
    "user": "user userid uid customer customerid reviewer reviewerid profile profileid member "
    "memberid account accountid",
    "item": "item itemid iid product productid asin parentasin business businessid book bookid "
    "movie movieid film filmid isbn isbn13 track trackid song songid artist artistid album albumid "
    "game gameid appid sku article articleid place placeid venue venueid poiid gmapid recipe "
    "recipeid anime animeid video videoid hotel hotelid beerid jokeid restaurantid",
    "rating": "rating ratings stars score overall bookrating reviewrating starrating userrating "
    "overallrating reviewoverall reviewscore ratingscore ratingvalue",
    "time": "timestamp time date when datetime ts unixreviewtime unixtime unixtimestamp "
    "reviewtime reviewdate dateadded createdat created createdon creationdate eventtime "
    "ratingtimestamp ratedat",
}
_SYNONYMS = {name: role for role, names in _NAMES.items() for name in names.split()}
"""Role by name, in small letters, without what is neither letter nor digit."""
_HINTS = {
    "user": "user customer visitor reviewer member client profile account person session who",
    "item": "item product asin isbn movie book track song artist article business place game sku "
    "what",
    "rating": "rating score star grade",
    "time": "time date",
}
"""Parts of names, for what a refusal proposes."""
_AMAZON_USER = re.compile(r"A[0-9A-Z]{10,39}")
"""Amazon user ids: 11 to 21 letters and digits before 2023, 28 and more since."""
_AMAZON_ITEM = re.compile(r"B[0-9A-Z]{9}|[0-9]{1,9}[0-9X]|[0-9]")
"""ASINs and ten-digit ISBNs, also those that lost leading zeros."""


@dataclass(frozen=True)
class Sample:
    """The structure of a file and the values of its first records."""

    where: str
    layout: Mapping
    """How records are cut and what the columns are; without roles."""
    columns: dict[str, list[str]]
    """The texts that are not blank of each named column."""
    is_typed: bool = False
    """The header gives types, as RecBole's does."""

    @property
    def is_bare(self) -> bool:
        """Whether it is a csv without a header."""
        return self.layout.syntax == "csv" and self.layout.header is None

    def listing(self) -> str:
        """The columns with a value each, in words."""
        shown = list(self.columns.items())[:SHOWN_COLUMNS]
        said = [short(n) + "".join(f" (like {short(v, 40)!r})" for v in vs[:1]) for n, vs in shown]
        more = len(self.columns) - len(said)
        return ", ".join(said) + (f" and {more:,} more" if more else "")

    def unclear(
        self, why: str, options: ReadOptions, answers: Sequence[dict[str, Any]], hint: str = ""
    ) -> UsageError:
        """The refusal that lists the columns, and what to type for each possible answer."""
        typed = " or ".join(replace(options, **answer).command() for answer in answers)
        todo = f"say it with {typed}{hint}" if typed else None
        return UsageError(f"{why}; its columns: {self.listing()}", where=self.where, todo=todo)

    def holds_lists(self, column: str) -> bool:
        """Whether nearly all values of the column are lists, or texts that begin like one."""
        values = self.columns.get(column, [])
        return bool(values) and are(lambda value: value.startswith("["), values)

    def named(self, role: str) -> list[str]:
        """The columns whose names stand for the role. A path into an object is never one."""
        is_nested = self.layout.syntax in ("json", "python")
        names = [name for name in self.columns if not (is_nested and "." in name)]
        return [name for name in names if self._is_called(role, name)]

    def _is_called(self, role: str, column: str) -> bool:
        is_rating = role != "rating" or are(is_number, self.columns[column], 0.5)
        return role_of(column) == role and is_rating

    def user_first(self) -> bool | None:
        """Whether the first of two unnamed columns holds Amazon's users and the second its items;
        False for the reverse, None where ids do not tell.
        """
        first, second = self.columns["1"], self.columns["2"]
        for is_first, users, items in ((True, first, second), (False, second, first)):
            fit = are(_AMAZON_USER.fullmatch, users) and are(_AMAZON_ITEM.fullmatch, items)
            if fit and users and items:
                return is_first
        return None

    def guess(self, given: dict[str, str] | None = None) -> dict[str, str]:
        """The likeliest column of each role, for a person to confirm; lacks roles without one."""
        roles = dict(given or {})
        for role in ("time", "rating", "user", "item"):
            free = [column for column in self.columns if column not in roles.values()]
            if role not in ROLES[:2]:
                free.reverse()
            best = max(free, key=partial(self._likelihood, role), default="")
            if best and self._likelihood(role, best):
                roles.setdefault(role, best)
        free = [column for column in self.columns if column not in roles.values()]
        roles |= zip([role for role in ROLES[:2] if role not in roles], free, strict=False)
        if self.is_bare and not given and self.user_first() is False:
            roles["user"], roles["item"] = roles["item"], roles["user"]
        return {role: roles[role] for role in ROLES if role in roles}

    def _likelihood(self, role: str, column: str) -> int:
        """Above 0 where the name or the values speak for the role: 4 a synonym, 3 and 2 a part."""
        name, values = plain(column), self.columns[column]
        if self._is_called(role, column):
            return 4
        is_time, is_rating = role == "time", role == "rating"
        if (is_time and not _are_times(values)) or (is_rating and not are(is_number, values)):
            return 0
        if any(hint in name for hint in _HINTS[role].split()):
            return 3 if name.endswith("id") else 2
        return int(is_time or (is_rating and self.is_bare and column not in "12"))


def plain(name: str) -> str:
    """The name in small letters, without what is neither letter nor digit."""
    return "".join(c for c in name[:200].casefold() if c.isalnum())


def role_of(name: str) -> str | None:
    """The role that a column of this name has."""
    return _SYNONYMS.get(plain(name))


def are(test: Any, values: Sequence[str], share: float = SURE) -> bool:
    """Whether so many of the values, of 1, pass the test."""
    return sum(map(bool, map(test, values))) >= share * len(values)


def _are_times(values: Sequence[str]) -> bool:
    try:
        time_of(values)
    except Unclear as error:
        return bool(error.patterns)
    return True


def short(text: str, most: int = 80) -> str:
    """The beginning of a text, with nothing that moves a cursor."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= most else text[:most] + "…"


def no_table(where: str, why: str, seen: str = "") -> UsageError:
    """The refusal of what holds no records that could be read."""
    return UsageError(
        f"not a form of dump that can be read: {why}"
        + (f"; it begins: {short(seen)!r}" if seen else ""),
        where=where,
        todo="give one record a line, as CSV with a header or as JSON with user, item and, if "
        "there are any, rating and time; sessions as one JSON list of ids a line",
    )
