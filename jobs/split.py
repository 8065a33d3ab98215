"""The split stage: interactions → splits, every pair with its fold (train, valid or test)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from jobs import common
from mrl4rec.core import stage
from mrl4rec.core.choices import OF_SEQUENCES, STRATEGIES, check_seed
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import table_at
from mrl4rec.data import split_files as author_form
from mrl4rec.tables import SEQUENCE_SPLITS, SPLITS, versions
from mrl4rec.tables.splits import FITTED
from mrl4rec.transforms import sequences as events
from mrl4rec.transforms import splits
from mrl4rec.transforms.engine import Engine
from mrl4rec.transforms.opening import open_engine

CODE = 2
STAGE, MARKER = "split", "splits"
USES_SHARE = ("random", "per_user_random", "global_time")
USES_TIME = ("last_out", "global_time", "since")
INPUTS = ("interactions", "users", "items")


@stage.again_after_lost_race
def run(
    dataset: str, core: Commit, *, strategy: str, split_seed: int = 0,
    split_files: Path | None = None, since: datetime | None = None, test_share: float = 0.2,
    sequences: Commit | None = None, settings: Settings,
) -> Commit:  # fmt: skip
    """The folds of the interactions of ``core``, from the warehouse if they are there already.

    ``split_files`` is a folder in the authors' form, for ``predefined`` only; ``since`` a time (in
    UTC where it has no zone), for the strategy of that name only. With ``sequences``, the commit of
    that stage on ``core``, the events are split, and a pair has the fold of its first event; the
    table ``sequence_splits`` has all events. Raises UsageError for a strategy
    that does not fit the data, Mrl4recError where the files' pairs are not exactly the
    interactions or another run committed meanwhile.
    """
    _check(strategy, split_seed, split_files, since, test_share, sequences is not None)
    files = author_form.find(split_files) if split_files else {}
    share = test_share if strategy in USES_SHARE else None
    params: dict[str, Any] = {"strategy": strategy, "split_seed": split_seed}
    if since is not None:
        since = since.replace(tzinfo=since.tzinfo or UTC).astimezone(UTC)
        params["since"] = since.isoformat()
    inputs = {"kcore": core.key, "files": author_form.digests(files)}
    if sequences is not None:
        inputs["sequences"] = sequences.key
    key = stage.stage_key(STAGE, CODE, inputs, {**params, "test_share": share})
    tables = common.Tables(settings, dataset)
    found = stage.find(tables.uri(MARKER), MARKER, key)
    if found is not None and versions.complete(settings, dataset, found):
        return found

    outputs = {name: core.table_version(name) for name in INPUTS}
    if sequences is not None:
        outputs["sequences"] = sequences.table_version("sequences")
        tables.begin(SEQUENCE_SPLITS.name)
    tables.begin(MARKER)
    with open_engine(settings) as engine:
        for name, version in outputs.items():
            tables.read(engine, name, version)
        if sequences is not None:
            return _split_events(tables, engine, params, share, since, key, outputs)
        if strategy in USES_TIME:
            _need_times(engine, strategy, tables.uri("interactions"))
        if files:
            _add_given(engine, files, {n: table_at(tables.uri(n), v) for n, v in outputs.items()})
        counts = splits.build(engine, strategy, split_seed, test_share, since)
        if since is not None:
            _check_cut(engine, counts, since)
        # Other test folds follow from the degrees: their size cannot be held against a share.
        test = share if strategy in ("random", "global_time") else None
        summary = {**counts, **params, "asked": {"test": test, "valid": splits.VALID_SHARE}}
        commit = Commit(STAGE, key, MARKER, -1, outputs, summary)
        return tables.finish(engine, SPLITS, splits.table(strategy, split_seed), commit)


def _split_events(
    tables: common.Tables, engine: Engine, params: Mapping[str, Any], share: float | None,
    since: datetime | None, key: str, outputs: dict[str, int],
) -> Commit:  # fmt: skip
    """Fold the events of ``sequences``, then the pairs by them; the pairs are the marker."""
    strategy, seed = params["strategy"], params["split_seed"]
    if strategy in ("global_time", "since"):
        _need_times(engine, strategy, tables.uri("sequences"), "sequences")
    counts = events.split(engine, strategy, seed, share or 0, since)
    if since is not None:
        before = sum(counts[fold] for fold in FITTED)
        after = counts["test"] + counts["test_history"]
        _check_cut(engine, {"train": before, "valid": 0, "test": after}, since)
    for fold in ("valid", "test"):
        if not counts[fold]:
            why, todo = events.NO_TARGETS[strategy]
            raise UsageError(
                f"there are no targets in the fold {fold}: {why}",
                where=f"--split {strategy} of {tables.uri('sequences')}",
                todo=f"{todo}; or take another --split",
            )
    summary = {**counts, **params, "of": "sequences"}
    note = stage.canonical({"stage": STAGE, "key": key})
    rows = events.table("event_folds", strategy, seed)
    tables.replace(engine, SEQUENCE_SPLITS, rows, note)
    outputs[SEQUENCE_SPLITS.name] = tables.heads[SEQUENCE_SPLITS.name]
    commit = Commit(STAGE, key, MARKER, -1, outputs, summary)
    return tables.finish(engine, SPLITS, events.table("folded", strategy, seed), commit)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage on the newest core of a data set and print its summary as JSON."""
    parser = common.parser(__doc__)
    parser.add_argument("--split", default="random", choices=STRATEGIES, dest="strategy")
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--split-files", type=Path)
    parser.add_argument("--since", type=datetime.fromisoformat)
    options, dataset, settings = common.parse(parser, argv)
    core = common.newest(settings, dataset, "interactions", f"{dataset!r} has no k-core yet")
    print(json.dumps(dict(run(dataset, core, **options, settings=settings).summary)))


def _check(
    strategy: str, seed: int, files: Path | None, since: datetime | None, share: float,
    of_sequences: bool = False,
) -> None:  # fmt: skip
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown split {strategy!r}: {nearest(strategy, STRATEGIES)}")
    if of_sequences and strategy not in OF_SEQUENCES:
        raise UsageError(
            f"the split {strategy!r} is of pairs, and sequences are to be split",
            where="--split",
            todo=nearest(strategy, OF_SEQUENCES),
        )
    if strategy == "by_user" and not of_sequences:
        raise UsageError(
            "the split 'by_user' is of sequences, and pairs are to be split",
            where="--split",
            todo="give --sequences, or methods that read sequences",
        )
    for owner, option, value, what, todo in (
        ("predefined", "--split-files", files, "the files",
         "give a folder with train.txt[.gz] and test.txt[.gz]"),
        ("since", "--since", since, "a time", "give --since TIME, like 2014-05-01"),
    ):  # fmt: skip
        if strategy == owner and value is None:
            raise UsageError(f"the split {strategy!r} needs {what}", where=option, todo=todo)
        if strategy != owner and value is not None:
            raise UsageError(
                f"the split {strategy!r} takes no {what.split()[1]}",
                where=option,
                todo=f"use --split {owner}, or leave {option} out",
            )
    if not 0 < share < 1:
        raise UsageError(f"the test share must lie between 0 and 1, got {share}")
    check_seed(seed, "--split-seed")


def _add_given(engine: Engine, files: dict[str, Path], tables: Mapping[str, DeltaTable]) -> None:
    """Make the files' pairs the relation ``given``; they must be exactly the interactions."""
    given = author_form.read(files)
    author_form.require_same(given, files, tables)
    engine.add("given", given)


def _need_times(engine: Engine, strategy: str, where: str, table: str = "interactions") -> None:
    """Raise UsageError where a row of ``table`` has no time."""
    lost = engine.query(f"SELECT 1 AS lost FROM {table} WHERE reviewed_at IS NULL LIMIT 1")
    if lost.num_rows:
        raise UsageError(
            f"the split {strategy!r} needs a time for every review, and these have none",
            where=f"{where}, column reviewed_at",
            todo="use --split random or per_user_random"
            if table == "interactions"
            else "use --split last_out or by_user",
        )


def _check_cut(engine: Engine, counts: Mapping[str, Any], moment: datetime) -> None:
    """Raise UsageError where one side of the cut is empty."""
    if counts["train"] and counts["test"]:
        return
    if counts["test"]:
        kept = counts["train"] + counts["valid"]
        what = f"there is nothing to train on: {kept:,} pairs are before {moment.isoformat()}"
    else:
        what = f"there is nothing to test: no pair is at or after {moment.isoformat()}"
    days = [datetime.fromtimestamp(t / 1e6, UTC).date().isoformat() for t in splits.ends(engine)]
    reach = f"the pairs reach {' to '.join(days)}" if days else "there are no pairs"
    raise UsageError(f"{what}; {reach}", where="--since", todo="give a time between the two")


if __name__ == "__main__":
    main()
