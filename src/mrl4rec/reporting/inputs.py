"""What a page was made of, as one digest kept in its head, so that it is not drawn twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import mrl4rec
from mrl4rec.core.files import AnyPath, inside, sha256
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import json_digest

HERE = Path(__file__).parent
_MARK = re.compile(rb'<meta name="made-of" content="([0-9a-f]{64})">')
HEAD_BYTES = 4096
"""The mark stands within so many bytes of a page's beginning."""


def digest(settings: Settings, names: Sequence[str], beside: AnyPath) -> str:
    """The SHA-256 of what a page of these data sets in the folder ``beside`` depends on.

    Tables count by the files of their logs, which are never written twice; model folders, written
    whole by one rename, by their cards; the users' values by their files; this package by its
    content.
    """
    said = [mrl4rec.__version__, str(settings.warehouse.absolute()), str(beside), list(names)]
    found = [list(_inputs(settings.storage.dataset_dir(name))) for name in names]
    return json_digest([said, found, list(_code())])


def made_of(page: AnyPath) -> str | None:
    """The digest that a page bears; None where there is no page, or none of ours."""
    try:
        with page.open("rb") as file:
            found = _MARK.search(file.read(HEAD_BYTES))
    except OSError:
        return None
    return found[1].decode() if found else None


def _inputs(folder: AnyPath) -> Iterator[tuple[str, int, str]]:
    for pattern in ("*/_delta_log/*.json", "models/*/model.json", "results_per_user/*.parquet",
                    "runs/*.yaml"):  # fmt: skip
        for name, stamp in sorted(inside(folder, pattern).items()):
            yield name, *stamp
    for name in sorted(inside(folder, "gx/**/*.html")):  # links to what is not there are left out
        yield name, 0, ""


def _code() -> Iterator[str]:
    for path in sorted(HERE.iterdir()):
        if path.suffix in (".py", ".html", ".css"):
            yield sha256(path)
