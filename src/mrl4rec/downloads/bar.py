"""Progress of a download: a bar where somebody watches, a few log lines where nobody does."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mrl4rec.downloads.web import Progress

log = logging.getLogger("mrl4rec.downloads")
QUARTERS = 4


@contextmanager
def shown(progress: Progress | None) -> Iterator[Progress]:
    """The caller's own progress if there is one, else a bar on a terminal, else log lines."""
    if progress is not None:
        yield progress
    elif sys.stderr.isatty():
        with _bar() as tell:
            yield tell
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def tell(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, total=total)

        yield tell


def _lines() -> Progress:
    told: dict[str, int] = {}

    def tell(name: str, done: int, total: int | None) -> None:
        if not total:
            return
        quarter = QUARTERS * done // total
        if quarter > told.get(name, 0):
            told[name] = quarter
            log.info("%s: %d %% of %s", name, 100 * done // total, f"{total:,}")

    return tell
