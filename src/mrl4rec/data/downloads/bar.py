"""Progress of a download: a bar where somebody watches, a log line a minute where nobody does."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from mrl4rec.data.downloads.web import Progress

log = logging.getLogger("mrl4rec.data.downloads")
LINE_SECONDS = 60


@contextmanager
def shown(progress: Progress | None) -> Iterator[Progress]:
    """The caller's own progress if there is one, else a bar on a terminal, else log lines."""
    if progress is not None:
        yield progress
        return
    shape: dict[str, Any] = {"unit": "", "unit_scale": True, "leave": False, "delay": 1}
    if not sys.stderr.isatty():
        shape |= {"file": _LogLines(), "mininterval": LINE_SECONDS, "maxinterval": LINE_SECONDS}
    with tqdm(**shape) as bar:

        def tell(name: str, done: int, total: int | None) -> None:
            bar.set_description_str(name, refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        yield tell


class _LogLines(io.StringIO):
    def write(self, text: str) -> int:
        if text.strip():
            log.info(text.strip())
        return len(text)
