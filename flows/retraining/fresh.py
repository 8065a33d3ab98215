"""What is new among the dumps: taken in file by file, each behind its gates, or set aside.

A file is known by its digest. It is *set aside* where an ingest that brought it failed a gate, or
where the ledger says that it could not be read: it is passed over from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, groupby

from flows.alerting import tell
from flows.retraining import refusals
from flows.retraining.refusals import Refusal
from flows.retraining.stages import Stages
from mrl4rec.core.errors import GateFailed, Mrl4recError, UsageError
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.formats.packing import Unpacking
from mrl4rec.formats.sources import SourceFile, digest
from mrl4rec.tables import versions

log = logging.getLogger("mrl4rec")
MARKER = "sources"


@dataclass(frozen=True)
class Found:
    """The dumps there are, by what is known of them."""

    new: list[SourceFile] = field(default_factory=list)
    taken: list[SourceFile] = field(default_factory=list)
    """In the newest good ingest."""
    set_aside: list[SourceFile] = field(default_factory=list)


@dataclass
class Intake:
    """What came of the dumps."""

    ingest: Commit | None
    """The newest good ingest now; None: there is none yet."""
    found: Found
    good: list[SourceFile] = field(default_factory=list)
    """Taken in by this run."""
    refused: list[Refusal] = field(default_factory=list)
    """Set aside by this run."""


def take_in(stages: Stages) -> Intake:
    """Take in what is new. Raises GateFailed where something was, and none of it is good."""
    ingest = settle(stages)
    found = look(stages, ingest)
    _tell(stages.dataset, found)
    intake = Intake(ingest, found)
    for files in _batches(found.new, first=ingest is None):
        _take(stages, intake, files)
    if not stages.asked.dry_run:
        refusals.record(stages, intake.refused, [f.sha256 for f in (*found.new, *found.set_aside)])
    if found.new and not intake.good:
        raise GateFailed(
            f"none of the {len(found.new)} new dumps of {stages.dataset} is good:\n  "
            + "\n  ".join(refusal.why for refusal in intake.refused),
            where=", ".join(file.shown for file in found.new),
            todo="look at them, then mend and deliver them again, or take them as they are: "
            "--retry-set-aside, with other limits (MRL4REC_DRIFT_…)",
        )
    return intake


def settle(stages: Stages) -> Commit | None:
    """The newest good ingest, judged: one of a killed run may have met no gate yet."""
    while True:
        ingest = versions.newest_good(stages.settings, stages.dataset, MARKER)
        if ingest is None:
            return None
        try:
            stages.judge(ingest)
        except GateFailed as error:
            if not _is_failed(stages, ingest):
                raise  # the gate could not be run at all, so nothing is known of it
            log.warning("%s: the last ingest is set aside: %s", stages.dataset, error.what)
        else:
            return ingest


def _is_failed(stages: Stages, ingest: Commit) -> bool:
    return any(
        c.version == ingest.version for c in refusals.failed(stages.settings, stages.dataset)
    )


def look(stages: Stages, ingest: Commit | None) -> Found:
    """The dumps that were asked for, each content once."""
    taken = _digests(stages, ingest) if ingest is not None else set()
    aside = set() if stages.asked.retry_set_aside else _set_aside(stages) - taken
    found, seen = Found(), set[str]()
    limits, files = Unpacking.of(stages.settings), stages.asked.files(stages.settings)
    for file in chain.from_iterable(digest(path, limits) for path in files):
        if file.sha256 in seen:
            continue
        seen.add(file.sha256)
        known = found.taken if file.sha256 in taken else found.new
        (found.set_aside if file.sha256 in aside else known).append(file)
    return found


def _set_aside(stages: Stages) -> set[str]:
    settings, dataset = stages.settings, stages.dataset
    aside = refusals.digests(settings, dataset)
    for commit in refusals.failed(settings, dataset):
        aside |= _digests(stages, commit)
    return aside


def _digests(stages: Stages, ingest: Commit) -> set[str]:
    delta = open_table(stages.settings.storage.table_uri(stages.dataset, MARKER), ingest.version)
    column = read_table(delta, ["source_sha256"])[0] if delta else []
    return {value.as_py() for value in column}


def _batches(new: Sequence[SourceFile], *, first: bool) -> Iterator[list[SourceFile]]:
    """A first load goes in at once; later each file by itself: one that is bad costs no other."""
    if first and new:
        yield list(new)
    elif not first:  # the files of an archive go together
        yield from (list(files) for _, files in groupby(new, lambda file: file.path))


def _take(stages: Stages, intake: Intake, files: list[SourceFile]) -> None:
    """Take files in together, but for those that cannot be read."""
    left = list(files)
    while left:
        try:
            paths = list(dict.fromkeys(file.path for file in left))
            ingest = stages.take_in(paths, _as_of(stages))
        except Mrl4recError as error:
            bad = _unreadable(error, left, said=bool(stages.asked.reading()))
            if bad is None:
                raise
            why = f"{bad.path.name} cannot be taken in: {error.what}"
            refused = [file for file in left if file.path == bad.path]
            intake.refused.append(Refusal(refused, why, judged=False))
            facts = {"what": why, "where": error.where, "todo": error.todo}
            tell(stages.settings, "gate_failed", stages.dataset, facts)
            left = [file for file in left if file not in refused]
            continue
        try:
            stages.judge(ingest)
        except GateFailed as error:
            if not _is_failed(stages, ingest):
                raise  # the gate could not be run at all: the next run judges it first
            intake.refused.append(Refusal(left, error.what, judged=True))
            return
        intake.ingest = ingest
        intake.good += left
        return


def _unreadable(
    error: Mrl4recError, files: Sequence[SourceFile], *, said: bool = False
) -> SourceFile | None:
    """The file that an error is about, where it is about the content of one.

    ``said`` is whether options say how files are read: then the mistake may be theirs.
    """
    if said and isinstance(error, UsageError):
        return None
    about = [
        file for file in files if error.where in (str(file.path), file.shown) and not file.changed()
    ]
    return about[0] if about else None


def _as_of(stages: Stages) -> datetime | None:
    """What was stopped before is taken in under a new key: the old one is known as failed."""
    asked = stages.request.as_of_time()
    return datetime.now(UTC) if asked is None and stages.asked.retry_set_aside else asked


def _tell(dataset: str, found: Found) -> None:
    log.info(
        "%s: %d new dumps, %d taken in before, %d set aside",
        dataset, len(found.new), len(found.taken), len(found.set_aside),
    )  # fmt: skip
    for file in found.set_aside:
        log.warning("%s: %s is passed over: it was set aside", dataset, file.shown)
