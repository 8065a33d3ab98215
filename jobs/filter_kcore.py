"""The kcore stage: reviews → users, items, interactions in which everyone has at least k.

Up to ``settings.kcore_driver_pairs`` pairs are peeled in memory (``mrl4rec.kcore``); above that
Spark peels, with a plan cut by a checkpoint every round, until so few are left. Both give the same.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

from jobs import delta, kcore_spark
from mrl4rec import compiled, kcore, lease, stage, versions
from mrl4rec.errors import Mrl4recError, UsageError
from mrl4rec.settings import Settings
from mrl4rec.stage import Commit
from mrl4rec.tables.table import DELTA_PROPERTIES

CODE = 1
STAGE, MARKER = "kcore", "interactions"
BATCH = 1 << 20
"""Rows read at a time, about 60 MB; smaller batches cost more page faults than they save."""
log = logging.getLogger("mrl4rec.kcore")


@dataclass(frozen=True)
class Plan:
    """What one run of the stage is a function of, and where it writes."""

    settings: Settings
    dataset: str
    ingest: Commit
    k: int
    min_rating: float | None
    base: Commit | None
    """The core whose numbers go on, if there is one."""

    @property
    def integer_ids(self) -> bool:
        """True where the dump's ids are the numbers themselves (the authors' form)."""
        return bool(self.ingest.summary.get("ids") == "integer")

    @property
    def key(self) -> str:
        """The stage key."""
        return self.key_after(self.base.key if self.base else None)

    def key_after(self, base: str | None) -> str:
        """The stage key this run would have if its numbers went on from the core of that key."""
        params = {"k": self.k, "min_rating": self.min_rating}
        return stage.stage_key(STAGE, CODE, {"ingest": self.ingest.key, "base": base}, params)

    def uri(self, table: str) -> str:
        """Where a table of the data set lies."""
        return self.settings.table_uri(self.dataset, table)

    def base_table(self, table: str) -> pa.Table | None:
        """A table of the base core, or None."""
        if self.base is None:
            return None
        return DeltaTable(self.uri(table), self.base.table_version(table)).to_pyarrow_table()


def run(
    dataset: str, ingest: Commit, *, k: int, min_rating: float | None = None, settings: Settings
) -> Commit:
    """The k-core of the reviews of ``ingest``, from the warehouse if it is there already.

    ``k`` 0 or 1 filters nothing. ``min_rating`` leaves out reviews with a lower rating or none.
    Raises UsageError for a bad ``k`` or a ``min_rating`` on reviews without ratings, Mrl4recError
    where the tables do not fit together.
    """
    if k < 0:
        raise UsageError(f"k-core needs k ≥ 0, got {k}", todo="use --kcore 0 for no filter")
    plan = Plan(settings, dataset, ingest, k, min_rating, base=None)
    history = [c for c in stage.history(plan.uri(MARKER), MARKER)
               if versions.complete(settings, dataset, c)]  # fmt: skip
    found = _find(history, plan)
    if found is not None:
        return found
    plan = replace(plan, base=_base(history, plan))
    rows = DeltaTable(plan.uri("reviews"), ingest.table_version("reviews")).count()
    if rows <= settings.kcore_driver_pairs:
        return _in_memory(plan)
    return _on_spark(plan)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage on the newest ingest of a data set; print its summary and seconds as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--kcore", type=int, default=5)
    parser.add_argument("--min-rating", type=float, default=None)
    options = parser.parse_args(argv)
    settings = Settings()  # type: ignore[call-arg]  # from the environment
    ingests = stage.history(settings.table_uri(options.dataset, "sources"), "sources")
    if not ingests:
        raise Mrl4recError(f"nothing was ingested for {options.dataset!r} yet")
    began = time.perf_counter()
    commit = run(options.dataset, ingests[0], k=options.kcore, min_rating=options.min_rating,
                 settings=settings)  # fmt: skip
    print(json.dumps({**commit.summary, "seconds": time.perf_counter() - began}))


def read_pairs(plan: Plan) -> tuple[kcore.Pairs, Mapping[str, int]]:
    """The distinct pairs of the reviews, ids as codes, and how many rows had no rating to judge."""
    import pyarrow.dataset as ds

    table = DeltaTable(plan.uri("reviews"), plan.ingest.table_version("reviews"))
    # Sources are few and long, so they are read as codes; ids are many, and become codes here.
    how = ds.ParquetReadOptions(dictionary_columns=["source_sha256"])
    data = table.to_pyarrow_dataset(parquet_read_options=how)
    columns = ["user_id", "item_id", "source_sha256", "record_no", "reviewed_at"]
    if plan.min_rating is not None:
        columns.append("rating")
    encoder, rows, unrated = kcore.Encoder(_source_numbers(plan)), 0, 0
    # One file at a time: reading ahead takes fresh memory, and its page faults cost more than it
    # gains.
    for batch in data.to_batches(
        columns, batch_size=BATCH, batch_readahead=2, fragment_readahead=1
    ):
        if plan.min_rating is not None:
            rating = batch.column("rating")
            rows, unrated = rows + len(batch), unrated + rating.null_count
            good = pc.fill_null(pc.greater_equal(rating, plan.min_rating), False)
            batch = batch.filter(good)
        encoder.add(batch)
    if plan.min_rating is None:
        return encoder.pairs(), {}
    if rows and unrated == rows:
        raise _no_ratings(plan.min_rating)
    return encoder.pairs(), {"without_rating": unrated}


def _no_ratings(min_rating: float) -> UsageError:
    return UsageError(
        f"--min-rating {min_rating:g} asked for, but these reviews have no ratings",
        where="table reviews, column rating",
        todo="leave --min-rating out",
    )


def _source_numbers(plan: Plan) -> dict[str, int]:
    table = DeltaTable(plan.uri("sources"), plan.ingest.version)
    rows = table.to_pyarrow_table(columns=["source_sha256", "source_no"])
    return dict(zip(rows[0].to_pylist(), rows[1].to_pylist(), strict=True))


def _in_memory(plan: Plan) -> Commit:
    compiled.wait("kcore")
    pairs, facts = read_pairs(plan)
    sizes = _integer_sizes(pairs) if plan.integer_ids else None
    rows, rounds = kcore.peel(pairs.users_P, pairs.items_P, plan.k)
    return _commit_core(plan, pairs.take(rows), rounds, facts, sizes)


def _integer_sizes(pairs: kcore.Pairs) -> tuple[int, int]:
    users = kcore.integers(pairs.user_ids, "user")
    items = kcore.integers(pairs.item_ids, "item")
    return int(users.max(initial=-1)) + 1, int(items.max(initial=-1)) + 1


def _commit_core(
    plan: Plan, pairs: kcore.Pairs, rounds: int, facts: Mapping[str, int],
    sizes: tuple[int, int] | None,
) -> Commit:  # fmt: skip
    if sizes is not None:
        core = kcore.keep_numbers(pairs, *sizes)
    else:
        core = kcore.number(pairs, plan.base_table("users"), plan.base_table("items"))
    counts = {
        "interactions": len(core.interactions),
        "users": core.n_users,
        "items": core.n_items,
        "rounds": rounds,
        "users_table": len(core.users),
        "items_table": len(core.items),
    }
    outputs = {
        name: _write(plan, name, table, _note(plan))
        for name, table in (("users", core.users), ("items", core.items))
    }
    commit = _commit(plan, outputs, counts, facts)
    version = _write(plan, MARKER, core.interactions, commit.metadata())
    return replace(commit, version=version)


def _on_spark(plan: Plan) -> Commit:
    """Peel on Spark; what is left goes to memory as soon as it fits there."""
    from jobs.spark import session

    spark = session(plan.settings)
    request = kcore_spark.Request(
        reviews=(plan.uri("reviews"), plan.ingest.table_version("reviews")),
        sources=(plan.uri("sources"), plan.ingest.version),
        k=plan.k,
        min_rating=plan.min_rating,
        driver_pairs=plan.settings.kcore_driver_pairs,
        integer_ids=plan.integer_ids,
    )
    peeled = kcore_spark.peel(spark, request)
    if peeled.unrated and peeled.unrated == peeled.reviews and plan.min_rating is not None:
        raise _no_ratings(plan.min_rating)
    if peeled.unknown_source is not None:
        raise kcore.unknown_source(peeled.unknown_source)
    facts = {} if plan.min_rating is None else {"without_rating": peeled.unrated}
    if peeled.n_pairs <= plan.settings.kcore_driver_pairs:
        pairs, rounds = kcore_spark.to_memory(peeled, plan.k)
        return _commit_core(plan, pairs, peeled.rounds + rounds, facts, peeled.sizes)
    base = {name: (plan.uri(name), plan.base.table_version(name)) if plan.base else None
            for name in ("users", "items")}  # fmt: skip
    core = kcore_spark.number(spark, peeled, base)
    counts = {**core.counts, "rounds": peeled.rounds}
    outputs = {}
    for name, frame in (("users", core.users), ("items", core.items)):
        delta.overwrite(frame, plan.uri(name), f"{name[:-1]}_idx",
                        rows=counts[f"{name}_table"], metadata=_note(plan))  # fmt: skip
        outputs[name] = DeltaTable(plan.uri(name)).version()
    commit = _commit(plan, outputs, counts, facts)
    delta.overwrite(core.interactions, plan.uri(MARKER), "user_idx", "item_idx",
                    rows=counts["interactions"], metadata=commit.metadata())  # fmt: skip
    version = DeltaTable(plan.uri(MARKER)).version()
    return replace(commit, version=version)


def _write(plan: Plan, name: str, table: pa.Table, metadata: str) -> int:
    """Overwrite a table through delta-rs; the version it got."""
    uri = plan.uri(name)
    lease.confirm()
    write_deltalake(uri, table, mode="overwrite", configuration=DELTA_PROPERTIES,
                    commit_properties=stage.properties(metadata))  # fmt: skip
    return int(DeltaTable(uri).version())


def _note(plan: Plan) -> str:
    """What the commits of users and items say; only the marker's commit says that all is done."""
    return stage.canonical({"stage": STAGE, "key": plan.key})


def _commit(
    plan: Plan, outputs: Mapping[str, int], counts: Mapping[str, int], facts: Mapping[str, int]
) -> Commit:
    summary: dict[str, Any] = {**counts, "k": plan.k, "min_rating": plan.min_rating, **facts,
                               "base": plan.base.key if plan.base else None}  # fmt: skip
    if facts.get("without_rating"):
        log.warning("%d reviews have no rating and were left out by --min-rating %g",
                    facts["without_rating"], plan.min_rating)  # fmt: skip
    if not counts["interactions"]:
        log.error(
            "the %d-core of %s is empty: after %d rounds no users and items are left with %d "
            "each; try a smaller --kcore",
            plan.k, plan.dataset, counts["rounds"], plan.k,
        )  # fmt: skip
    return Commit(STAGE, plan.key, MARKER, -1, dict(outputs), summary)


def _find(history: Sequence[Commit], plan: Plan) -> Commit | None:
    """The newest core of this ingest and these parameters, whatever numbers it went on from."""
    for commit in history:
        if commit.key == plan.key_after(commit.summary.get("base")):
            return replace(commit, found=True)
    return None


def _base(history: Sequence[Commit], plan: Plan) -> Commit | None:
    """The newest core with these parameters that no gate has failed: its numbers go on."""
    if plan.integer_ids:
        return None
    failed = versions.failed_versions(plan.settings, plan.dataset)
    asked = (plan.k, plan.min_rating)
    for commit in history:
        tables = {MARKER: commit.version, **commit.outputs}
        good = not any((table, str(version)) in failed for table, version in tables.items())
        if good and (commit.summary.get("k"), commit.summary.get("min_rating")) == asked:
            return commit
    return None


if __name__ == "__main__":
    main()
