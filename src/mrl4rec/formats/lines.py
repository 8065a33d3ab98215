"""One record a line: what Spark reads, made from gzip, JSON arrays and the authors' lists.

Line k of the result is record k of the source, so a record's place never depends on how Spark
cuts the file. All of it streams: memory is bounded by MAX_RECORD, whatever the file holds.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mrl4rec.errors import Mrl4recError
from mrl4rec.formats.array import array_elements
from mrl4rec.formats.authors import author_pairs
from mrl4rec.formats.bounds import Unpacking, cut_long_lines, has_long_lines
from mrl4rec.formats.known import Format
from mrl4rec.formats.sources import SourceFile, blocks, is_gzip

log = logging.getLogger("mrl4rec")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_lines(
    source: SourceFile, form: Format, folder: Path, most: Unpacking | None = None
) -> Path:
    """Put the source into ``folder`` as plain text, one record a line, named by its digest.

    Of a line longer than MAX_RECORD only the beginning is written, and its length. A plain file
    without such lines is linked, not copied. Raises Mrl4recError where a gzip file is damaged or
    unpacks to more than ``most``, or the disk is full.
    """
    target = folder / f"{source.sha256}.txt"
    most, path = most or Unpacking(), source.path
    try:
        content = most.bounded(blocks(path), path) if is_gzip(path) else blocks(path)
        if form.container == "array":
            _write(target, (element + b"\n" for element in array_elements(content, path)))
        elif form.container == "author":
            _write(target, most.bounded(author_pairs(content), path))
        elif is_gzip(path):
            _write(target, cut_long_lines(content))
        elif has_long_lines(content):
            _write(target, cut_long_lines(blocks(path)))
        else:
            target.symlink_to(path.resolve())
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise Mrl4recError(
            f"{path} could not be unpacked: {error.strerror or error}",
            where=str(folder),
            todo="free some space there (the unpacked dump has to fit) and run it again"
            if full
            else None,
        ) from error
    return target


def write_all(
    sources: Sequence[tuple[SourceFile, Format]], folder: Path, most: Unpacking | None = None
) -> list[Path]:
    """``write_lines`` for many files, side by side; the paths in the same order.

    One gzip file is one stream that cannot be split, so one core reads it, however many there are;
    reading and unpacking release the interpreter, so that many files take all cores. The first
    file that is refused, in the order given, is the one that is said.
    """
    zipped = [source for source, _ in sources if is_gzip(source.path)]
    if zipped:
        log.info(
            "unpacking %d gzip files, each one stream on one core, %d side by side",
            len(zipped), min(len(zipped), CORES),
        )  # fmt: skip
    with ThreadPoolExecutor(max_workers=CORES) as pool:
        started = [pool.submit(write_lines, source, form, folder, most) for source, form in sources]
        try:
            return [task.result() for task in started]
        finally:
            for task in started:
                task.cancel()  # those that wait; the ones that run are waited for


def _write(target: Path, chunks: Iterable[bytes]) -> None:
    with target.open("wb") as stream:
        stream.writelines(chunks)
