"""The kcore stage: reviews → users, items, interactions in which everyone has at least k."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from jobs import common
from mrl4rec.core import stage
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.tables import INTERACTIONS, ITEMS, USERS, Table, versions
from mrl4rec.transforms import kcore
from mrl4rec.transforms.engine import Engine
from mrl4rec.transforms.opening import open_engine

CODE = 2
STAGE, MARKER = "kcore", "interactions"
log = logging.getLogger("mrl4rec.kcore")


@dataclass(frozen=True)
class Plan:
    """What one run of the stage is a function of, and where it writes."""

    settings: Settings
    dataset: str
    ingest: Commit
    params: Mapping[str, Any]
    """``k`` and ``min_rating``."""
    base: Commit | None = None
    """The core whose numbers go on, if there is one."""

    @property
    def integer_ids(self) -> bool:
        """True where the dump's ids are the numbers themselves (the authors' form)."""
        return bool(self.ingest.summary.get("ids") == "integer")

    def key_after(self, base: str | None) -> str:
        """The stage key of a run whose numbers go on from the core of the key ``base``."""
        inputs = {"ingest": self.ingest.key, "base": base}
        return stage.stage_key(STAGE, CODE, inputs, self.params)

    def uri(self, table: str) -> str:
        return self.settings.storage.table_uri(self.dataset, table)


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
    plan = Plan(settings, dataset, ingest, params)
    for commit in stage.history(plan.uri(MARKER), MARKER):
        # Whatever numbers it went on from.
        same = commit.key == plan.key_after(commit.summary.get("base"))
        if same and versions.complete(settings, dataset, commit):
            return replace(commit, found=True)
    if not plan.integer_ids:
        good = versions.good(settings, dataset, MARKER)
        alike = (c for c in good if all(c.summary.get(name) == params[name] for name in params))
        plan = replace(plan, base=next(alike, None))
    return _make(plan)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage on the newest ingest of a data set; print its summary and seconds as JSON."""
    parser = common.parser(__doc__)
    parser.add_argument("--kcore", type=int, default=5)
    parser.add_argument("--min-rating", type=float)
    options, dataset, settings = common.parse(parser, argv)
    lacking = f"nothing was ingested for {dataset!r} yet"
    ingest = common.newest(settings, dataset, "sources", lacking)
    began, k, rating = time.perf_counter(), options["kcore"], options["min_rating"]
    commit = run(dataset, ingest, k=k, min_rating=rating, settings=settings)
    print(json.dumps({**commit.summary, "seconds": time.perf_counter() - began}))


def _make(plan: Plan) -> Commit:
    heads = common.heads(plan.settings, plan.dataset, ("users", "items", MARKER))
    base = plan.base.key if plan.base else None
    key = plan.key_after(base)
    with open_engine(plan.settings) as engine:
        _read(plan, engine)
        core = kcore.build(engine, **plan.params, integer_ids=plan.integer_ids)
        note = stage.canonical({"stage": STAGE, "key": key})
        # Only the marker's commit, the last one, says that all is done.
        outputs = {
            table.name: _write(plan, engine, table, sql, note, heads)
            for table, sql in ((USERS, kcore.USER_TABLE), (ITEMS, kcore.ITEM_TABLE))
        }
        summary = {**asdict(core), **plan.params, "base": base}
        unrated = summary.pop("unrated")
        if unrated is not None:
            summary["without_rating"] = unrated
        _warn(plan, summary)
        commit = Commit(STAGE, key, MARKER, -1, outputs, summary)
        sql, text = kcore.INTERACTION_TABLE, commit.metadata()
        return replace(commit, version=_write(plan, engine, INTERACTIONS, sql, text, heads))


def _read(plan: Plan, engine: Engine) -> None:
    """Bind the relations that ``transforms.kcore`` reads."""
    columns = ["user_id", "item_id", "rating", "reviewed_at", "source_sha256", "record_no"]
    engine.read("reviews", plan.uri("reviews"), plan.ingest.table_version("reviews"), columns)
    engine.read("sources", plan.uri("sources"), plan.ingest.version, ["source_sha256", "source_no"])
    if plan.base is None:
        kcore.begin_numbers(engine)
        return
    for name in ("users", "items"):
        engine.read(f"base_{name}", plan.uri(name), plan.base.table_version(name))


def _write(
    plan: Plan, engine: Engine, table: Table, sql: str, metadata: str, heads: Mapping[str, int]
) -> int:
    return engine.write(
        table, plan.uri(table.name), sql, mode="overwrite", text=metadata,
        base=heads[table.name], order=", ".join(table.key),
    )  # fmt: skip


def _warn(plan: Plan, summary: Mapping[str, Any]) -> None:
    if summary.get("without_rating"):
        log.warning("%d reviews have no rating and were left out by --min-rating %g",
                    summary["without_rating"], summary["min_rating"])  # fmt: skip
    if not summary["interactions"]:
        log.error(
            "the %d-core of %s is empty: after %d rounds no users and items are left with %d "
            "each; try a smaller --kcore",
            summary["k"], plan.dataset, summary["rounds"], summary["k"],
        )  # fmt: skip


if __name__ == "__main__":
    main()
