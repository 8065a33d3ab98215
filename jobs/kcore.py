"""The kcore stage: reviews → users, items, interactions in which everyone has at least k."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jobs import common
from mrl4rec.core import stage
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.tables import INTERACTIONS, ITEMS, USERS, versions
from mrl4rec.transforms import kcore
from mrl4rec.transforms.opening import open_engine

CODE = 2
STAGE, MARKER = "kcore", "interactions"
log = logging.getLogger("mrl4rec.kcore")


@stage.again_after_lost_race
def run(
    dataset: str, ingest: Commit, *, k: int, min_rating: float | None = None, settings: Settings
) -> Commit:
    """The k-core of the reviews of ``ingest``, from the warehouse if it is there already.

    ``k`` 0 or 1 filters nothing. ``min_rating`` leaves out reviews with a lower rating or none.
    Raises UsageError for a bad ``k`` or a ``min_rating`` on reviews without ratings, Mrl4recError
    where the tables do not fit together or another run committed meanwhile.
    """
    if k < 0:
        raise UsageError(f"k-core needs k ≥ 0, got {k}", todo="use --kcore 0 for no filter")
    params = {"k": k, "min_rating": min_rating}
    tables = common.Tables(settings, dataset)
    for commit in stage.history(tables.uri(MARKER), MARKER):
        # Whatever numbers it went on from.
        same = commit.key == _key(ingest, params, commit.summary.get("base"))
        if same and versions.complete(settings, dataset, commit):
            return replace(commit, found=True)
    base = None
    if ingest.summary.get("ids") != "integer":  # such ids are the numbers themselves
        good = versions.good(settings, dataset, MARKER)
        base = next((c for c in good if params == {p: c.summary.get(p) for p in params}), None)
    return _make(tables, ingest, params, base)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage on the newest ingest of a data set; print its summary and seconds as JSON."""
    parser = common.parser(main.__doc__)
    parser.add_argument("--kcore", type=int, default=5, dest="k")
    parser.add_argument("--min-rating", type=float)
    options, dataset, settings = common.parse(parser, argv)
    lacking = f"nothing was ingested for {dataset!r} yet"
    ingest = common.newest(settings, dataset, "sources", lacking)
    began = time.perf_counter()
    commit = run(dataset, ingest, **options, settings=settings)
    print(json.dumps({**commit.summary, "seconds": time.perf_counter() - began}))


def _key(ingest: Commit, params: Mapping[str, Any], base: str | None) -> str:
    """The stage key of a run whose numbers go on from the core of the key ``base``."""
    return stage.stage_key(STAGE, CODE, {"ingest": ingest.key, "base": base}, params)


def _make(
    tables: common.Tables, ingest: Commit, params: Mapping[str, Any], base: Commit | None
) -> Commit:
    tables.begin("users", "items", MARKER)
    base_key = base.key if base else None
    key = _key(ingest, params, base_key)
    with open_engine(tables.settings) as engine:
        for name in ("reviews", "sources"):
            tables.read(engine, name, ingest.table_version(name))
        for table in (USERS, ITEMS):
            if base is None:
                engine.add(f"base_{table.name}", table.schema.empty_table())
            else:
                tables.read(engine, table.name, base.table_version(table.name), prefix="base_")
        integer_ids = ingest.summary.get("ids") == "integer"
        core = kcore.build(engine, **params, integer_ids=integer_ids)
        summary = {**core, **params, "base": base_key}
        _warn(tables.dataset, summary)
        note = stage.canonical({"stage": STAGE, "key": key})
        for table in (USERS, ITEMS):
            tables.replace(engine, table, f"SELECT * FROM core_{table.name}", note)
        outputs = {table.name: tables.heads[table.name] for table in (USERS, ITEMS)}
        commit = Commit(STAGE, key, MARKER, -1, outputs, summary)
        return tables.finish(engine, INTERACTIONS, "SELECT * FROM core_interactions", commit)


def _warn(dataset: str, summary: Mapping[str, Any]) -> None:
    if summary.get("without_rating"):
        log.warning("%d reviews have no rating and were left out by --min-rating %g",
                    summary["without_rating"], summary["min_rating"])  # fmt: skip
    if not summary["interactions"]:
        log.error(
            "the %d-core of %s is empty: after %d rounds no users and items are left with %d "
            "each; try a smaller --kcore",
            summary["k"], dataset, summary["rounds"], summary["k"],
        )  # fmt: skip


if __name__ == "__main__":
    main()
