"""What was run on what: the chain of stages behind a set of runs, from the tables' own commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, history, log_entries
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.reporting.runs import Run


@dataclass(frozen=True)
class Context:
    """Runs that share one split, with the stages that led to it; None for what is not there."""

    dataset: str
    ingest: Commit | None
    core: Commit | None
    split: Commit | None
    runs: list[Run]
    sequences: Commit | None = None
    """Of a split of sequences alone."""

    @property
    def counts(self) -> tuple[int, int, int] | None:
        """(users, items, interactions) of the core."""
        summary = self.core.summary if self.core else {}
        try:
            return tuple(int(summary[n]) for n in ("users", "items", "interactions"))  # type: ignore[return-value]
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def of_sequences(self) -> bool:
        """Whether sequences were split, and not pairs."""
        return self.split is not None and self.split.summary.get("of") == "sequences"

    @property
    def split_name(self) -> str:
        """``global_time``, with its seed where it is not 0; ``by_user of sequences, …``."""
        split = self.split.summary if self.split else {}
        seed = split.get("split_seed")
        name = str(split.get("strategy", "unknown split"))
        parts = [f"{name} of sequences" if self.of_sequences else name]
        made = self.sequences.summary if self.sequences else {}
        if made.get("repeats") is False:
            parts.append("without repeats")
        if made.get("max_length"):
            parts.append(f"the newest {made['max_length']} events")
        if made.get("ties"):
            parts.append(f"ties by {made['ties']}")
        return ", ".join([*parts, *([f"seed {seed}"] if seed else [])])

    @property
    def core_name(self) -> str:
        """``5-core``, and which ratings count where not all do."""
        core = self.core.summary if self.core else {}
        k, least = core.get("k"), core.get("min_rating")
        name = "unknown core" if k is None else f"{k}-core" if k > 1 else "all pairs"
        return name + (f", rating ≥ {least:g}" if least is not None else "")

    @property
    def name(self) -> str:
        """``5-core, split random, seed 1``."""
        return f"{self.core_name}, split {self.split_name}"

    @property
    def stages(self) -> tuple[Commit | None, ...]:
        """The data stages in their order; None for what is not there."""
        between = (self.sequences,) if self.of_sequences else ()
        return (self.ingest, self.core, *between, self.split)

    def versions(self) -> dict[str, int]:
        """Versions of the tables that were read."""
        out: dict[str, int] = {}
        for commit in self.stages:
            if commit is not None:
                out |= {commit.table: commit.version, **commit.outputs}
        return out


def contexts(settings: Settings, dataset: str, runs: Sequence[Run]) -> list[Context]:
    """One context for each split that was used, the newest split first.

    Runs whose split is not known go with the newest; without runs there is the newest alone.
    """
    splits = history(settings.storage.table_uri(dataset, "splits"), "splits")
    made = history(settings.storage.table_uri(dataset, "sequences"), "sequences")
    cores = history(settings.storage.table_uri(dataset, "interactions"), "interactions")
    ingests = history(settings.storage.table_uri(dataset, "sources"), "sources")
    times = {
        table: commit_times(settings.storage.table_uri(dataset, table))
        for table in ("sources", "interactions")
    }
    by_key = {commit.key: commit for commit in reversed(splits)}
    newest = splits[0].key if splits else None
    used: dict[str | None, list[Run]] = {}
    for run in runs:
        used.setdefault(run.split if run.split in by_key else newest, []).append(run)
    if not used:
        used[newest] = []
    order = {commit.key: n for n, commit in enumerate(splits)}
    out = []
    for key, members in sorted(used.items(), key=lambda pair: order.get(pair[0] or "", 10**9)):
        split = by_key.get(key) if key else None
        core = _core(split, cores)
        ingest, sequences = _ingest(core, ingests, times), _named(split, "sequences", made)
        out.append(Context(dataset, ingest, core, split, members, sequences))
    return out


def names_of(found: Sequence[Context]) -> list[str]:
    """Core and split of each context; where two are alike, also the first digits of its key."""
    several = Counter(context.name for context in found)
    return [
        context.name
        if several[context.name] == 1
        else f"{context.name}, {context.split.key[:8] if context.split else 'key unknown'}"
        for context in found
    ]


def _core(split: Commit | None, cores: Sequence[Commit]) -> Commit | None:
    if split is None:
        return cores[0] if cores else None
    return _named(split, "interactions", cores)


def _named(split: Commit | None, table: str, commits: Sequence[Commit]) -> Commit | None:
    """Of these commits to a table the one whose version a split names."""
    version = split.outputs.get(table) if split else None
    return next((commit for commit in commits if commit.version == version), None)


def _ingest(
    core: Commit | None, ingests: Sequence[Commit], times: Mapping[str, Mapping[int, int]]
) -> Commit | None:
    """The ingest a core was made of: the one it names, else the newest that is not younger."""
    if core is None:
        return ingests[0] if ingests else None
    named = core.summary.get("ingest")
    for ingest in ingests:
        if named is not None and ingest.key == named:
            return ingest
        made, read = times["interactions"].get(core.version), times["sources"].get(ingest.version)
        if named is None and (made is None or read is None or read <= made):
            return ingest
    return None


def commit_times(uri: str) -> dict[int, int]:
    """Milliseconds since 1970 of each version of a table; empty where there is no table."""
    entries = log_entries(uri)
    return {int(e["version"]): int(e["timestamp"]) for e in entries if "timestamp" in e}


def source_rows(settings: Settings, context: Context) -> list[dict[str, Any]]:
    """The files that were read, in their order of arrival, with digest, size and counts."""
    if context.ingest is None:
        return []
    uri = settings.storage.table_uri(context.dataset, "sources")
    delta = open_table(uri, context.ingest.version)
    rows = read_table(delta).to_pylist() if delta else []
    return sorted(rows, key=lambda row: row.get("source_no") or 0)
