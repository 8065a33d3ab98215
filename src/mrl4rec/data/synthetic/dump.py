"""Writing a planted dump: 2018-style JSON lines, chunk by chunk."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from mrl4rec.data.synthetic import extras as extra_rows
from mrl4rec.data.synthetic import truth as side_file
from mrl4rec.data.synthetic.extras import BAD, DUPLICATE_RATED, REPEAT, Extras
from mrl4rec.data.synthetic.spec import BAD_KINDS, DAY, Planted
from mrl4rec.data.synthetic.truth import Truth
from mrl4rec.data.synthetic.world import ITEM_ID, USER_ID, World, build, external

CHUNK = 1 << 17
"""Good rows formatted at a time: about 20 MB of text."""
LINE = (
    '{"overall": %d.0, "verified": true, "reviewTime": "%s", "reviewerID": "%s", "asin": "%s", '
    '"unixReviewTime": %d}'
)
Progress = Callable[[int, int], None]


def write(spec: Planted, path: Path, progress: Progress | None = None) -> Truth:
    """Write the dump (gzip where the name ends in .gz) and its truth; both land by rename.

    The bytes are a function of ``spec`` alone (of zlib too, for .gz). ``progress`` is told how many
    of the good rows are written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    world, extras = build(spec), extra_rows.plan(spec)
    ids = {"user": external(spec, USER_ID, spec.users), "item": external(spec, ITEM_ID, spec.items)}
    part = path.with_name(path.name + ".part")
    with opened(part, path.suffix == ".gz") as out:
        for start in range(0, spec.reviews, CHUNK):
            end = min(start + CHUNK, spec.reviews)
            lines = _merged(world, extras, ids, start, end)
            out.write("\n".join([*lines, ""]).encode())
            if progress is not None:
                progress(end, spec.reviews)
    found = _truth(world, extras, ids, path)
    side_file.write_truth(found)
    part.replace(path)
    return found


def _merged(
    world: World, extras: Extras, ids: dict[str, list[str]], start: int, end: int
) -> list[str]:
    """The lines of good rows start … end - 1 with the extra rows among them."""
    lines = _lines(world, ids, np.arange(start, end))
    here = extras.between(start, end)
    if here.start == here.stop:
        return lines
    added = _extra_lines(world, extras, ids, here)
    out: list[str] = []
    done = 0
    for line, after in zip(added, (extras.after_X[here] - start + 1).tolist(), strict=True):
        out += lines[done:after]
        out.append(line)
        done = after
    return out + lines[done:]


def _lines(world: World, ids: dict[str, list[str]], n: np.ndarray) -> list[str]:
    user, item, rating, time = world.rows(n)
    return format_rows(ids, user, item, rating, time)


def format_rows(
    ids: dict[str, list[str]],
    user: np.ndarray,
    item: np.ndarray,
    rating: np.ndarray,
    time: np.ndarray,
) -> list[str]:
    """Rows of numbers as lines; ``ids`` spells the ``user`` and ``item`` of each number."""
    days, at = np.unique(time // DAY, return_inverse=True)
    dates = [_date(day) for day in days.tolist()]
    users, items = ids["user"], ids["item"]
    rows = zip(
        rating.tolist(), at.tolist(), user.tolist(), item.tolist(), time.tolist(), strict=True
    )
    return [LINE % (r, dates[d], users[u], items[i], t) for r, d, u, i, t in rows]


def _date(day: int) -> str:
    """A day since 1970 as the dumps of 2018 spell it: month with a zero, day without."""
    date = np.datetime64(day, "D").item()
    return f"{date:%m} {date.day}, {date.year}"


def _extra_lines(world: World, extras: Extras, ids: dict[str, list[str]], here: slice) -> list[str]:
    kind, source = extras.kind_X[here], extras.source_X[here]
    user, item, rating, time = world.rows(source)
    time = np.where(kind == REPEAT, world.time(extras.after_X[here]), time)
    rating = np.where(kind == DUPLICATE_RATED, rating % 5 + 1, rating)
    lines = format_rows(ids, user, item, rating, time)
    for x in np.flatnonzero(kind == BAD):
        lines[x] = extra_rows.spoil(BAD_KINDS[extras.bad_X[here][x]], ids["user"][user[x]],
                                    ids["item"][item[x]], int(rating[x]), int(time[x]))  # fmt: skip
    return lines


def _truth(world: World, extras: Extras, ids: dict[str, list[str]], path: Path) -> Truth:
    spec = world.spec
    counts = {
        "rows_read": spec.rows,
        "rows_accepted": spec.reviews + spec.repeats,
        "rows_duplicate": spec.duplicates,
        "rows_quarantined": spec.bad,
        "repeats": spec.repeats,
        "pairs": spec.reviews,
        "users": spec.users,
        "items": len(np.unique(world.item_N)),
    }
    kinds = np.bincount(extras.bad_X[extras.bad_X >= 0], minlength=len(BAD_KINDS)).tolist()
    rules = {name: n for name, n in zip(BAD_KINDS, kinds, strict=True) if n}
    reached = np.bincount(world.level_N, minlength=len(spec.reach)).tolist()
    leaves = {"user": world.user_leaf_U, "item": world.item_leaf_I}
    groups = side_file.group_table(spec, ids, leaves)
    return Truth(spec, path, counts, rules, tuple(reached), groups)


@contextmanager
def opened(part: Path, zipped: bool) -> Iterator[IO[bytes]]:
    """A file to write to, gzip where asked for: the same content gives the same bytes."""
    with part.open("wb") as raw:
        if not zipped:
            yield raw
            return
        # No name and no time in the header.
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=3) as out:
            yield out  # type: ignore[misc]  # a GzipFile is a binary file in all but its type
