"""Which column is the user, the item, the rating and the time: by names that people use."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mrl4rec.formats.mapping import ROLES
from mrl4rec.formats.sample import Sample
from mrl4rec.formats.times import Unclear, is_number, time_of

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
SYNONYMS = {role: frozenset(names.split()) for role, names in _NAMES.items()}
"""Names in small letters, without what is neither letter nor digit."""
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
SURE = 0.9


def plain(name: str) -> str:
    """The name in small letters, without what is neither letter nor digit."""
    return "".join(c for c in name[:200].casefold() if c.isalnum())


def candidates(sample: Sample) -> dict[str, list[str]]:
    """The columns whose names stand for each role. A path into an object is never one."""
    is_nested = sample.layout.syntax in ("json", "python")
    names = [name for name in sample.columns if not (is_nested and "." in name)]
    found = {role: [name for name in names if plain(name) in SYNONYMS[role]] for role in ROLES}
    found["rating"] = [c for c in found["rating"] if are_numbers(sample.columns[c], 0.5)]
    return found


def are_numbers(values: Sequence[str], share: float = SURE) -> bool:
    """Whether so many of the values are numbers, of 1."""
    return sum(map(is_number, values)) >= share * len(values)


def user_first(sample: Sample) -> bool | None:
    """Whether the first of two unnamed columns holds Amazon's users and the second its items;
    False for the reverse, None where ids do not tell.
    """
    first, second = sample.columns["1"], sample.columns["2"]
    for is_first, users, items in ((True, first, second), (False, second, first)):
        if _fit(_AMAZON_USER, users) and _fit(_AMAZON_ITEM, items):
            return is_first
    return None


def _fit(pattern: re.Pattern[str], ids: Sequence[str]) -> bool:
    return sum(map(bool, map(pattern.fullmatch, ids))) >= SURE * max(len(ids), 1)


def guess(sample: Sample, given: dict[str, str] | None = None) -> dict[str, str]:
    """The likeliest column of each role, for a person to confirm; lacks roles without one."""
    roles = dict(given or {})
    for role in ("time", "rating", "user", "item"):
        free = _free(sample, roles)
        likely = {c: _likelihood(sample, role, c) for c in free[:: 1 if role in ROLES[:2] else -1]}
        best = max(likely, key=lambda c: likely[c], default="")
        if best and likely[best]:
            roles.setdefault(role, best)
    missing = [role for role in ROLES[:2] if role not in roles]
    roles |= dict(zip(missing, _free(sample, roles), strict=False))
    if sample.is_bare and not given and user_first(sample) is False:
        roles["user"], roles["item"] = roles["item"], roles["user"]
    return {role: roles[role] for role in ROLES if role in roles}


def _free(sample: Sample, roles: dict[str, str]) -> list[str]:
    return [column for column in sample.columns if column not in roles.values()]


def _likelihood(sample: Sample, role: str, column: str) -> int:
    """Above 0 where the name or the values speak for the role: 4 a synonym, 3 and 2 a part."""
    name, values = plain(column), sample.columns[column]
    if name in SYNONYMS[role] and (role != "rating" or are_numbers(values, 0.5)):
        return 4
    tests = {"time": _are_times, "rating": are_numbers}
    if role in tests and not tests[role](values):
        return 0
    if any(hint in name for hint in _HINTS[role].split()):
        return 3 if name.endswith("id") else 2
    return int(role == "time" or (role == "rating" and sample.is_bare and column not in "12"))


def _are_times(values: Sequence[str]) -> bool:
    try:
        time_of(values)
    except Unclear as error:
        return bool(error.patterns)
    return True
