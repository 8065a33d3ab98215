"""The sequences stage: reviews of the core's users and items → sequences, each in its order."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from jobs import common
from jobs import sources as source_rows
from mrl4rec.core import stage
from mrl4rec.core.choices import TIES
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.tables import SEQUENCES, versions
from mrl4rec.transforms import sequences
from mrl4rec.transforms.opening import open_engine

CODE = 1
STAGE, MARKER = "sequences", "sequences"
log = logging.getLogger("mrl4rec.sequences")


@stage.again_after_lost_race
def run(
    dataset: str,
    ingest: Commit,
    core: Commit,
    *,
    repeats: bool = True,
    max_length: int | None = None,
    ties: str = "hash",
    settings: Settings,
) -> Commit:
    """The events of each user of ``core`` in order, from the warehouse if they are there already.

    ``ingest`` is what the core was made from. Without ``repeats`` an item of a sequence stays where
    it was first; ``max_length`` keeps the newest events of each; ``ties`` says how equal times are
    ordered, by ``hash`` or as in the ``file``. Raises UsageError where reviews
    have neither a time nor a place in a list, Mrl4recError where another run committed meanwhile.
    """
    if max_length is not None and max_length < 2:
        raise UsageError(
            f"sequences of {max_length} events have no history and target",
            where="--max-length",
            todo="2 or more",
        )
    params: dict[str, Any] = {"repeats": repeats, "max_length": max_length}
    if ties != "hash":
        params["ties"] = ties
    key = stage.stage_key(STAGE, CODE, {"ingest": ingest.key, "kcore": core.key}, params)
    tables = common.Tables(settings, dataset)
    found = stage.find(tables.uri(MARKER), MARKER, key)
    if found is not None and versions.complete(settings, dataset, found):
        return found

    tables.begin(MARKER)
    inputs = {name: core.table_version(name) for name in ("interactions", "users", "items")}
    with open_engine(settings) as engine:
        tables.read(engine, "reviews", ingest.table_version("reviews"))
        for name, version in inputs.items():
            tables.read(engine, name, version)
        engine.add("listed", _listed(tables.uri("sources"), ingest))
        lost = sequences.untimed(engine)
        if lost:
            raise UsageError(
                f"a sequence needs the order of its items, and {lost:,} reviews have no time",
                where=f"{tables.uri('reviews')}, column reviewed_at",
                todo="bring a dump with times or one of lists, or leave methods that read "
                "sequences out of --methods",
            )
        counts = sequences.build(
            engine, min_rating=core.summary.get("min_rating"), repeats=repeats,
            max_length=max_length,
            ties=ties,
        )  # fmt: skip
        commit = Commit(STAGE, key, MARKER, -1, inputs, {**counts, **params})
        return tables.finish(engine, SEQUENCES, sequences.TABLE, commit)


def _listed(uri: str, ingest: Commit) -> pa.Table:
    """The sources whose records stand in their order."""
    rows = source_rows.known(uri, ingest).values()
    digests = source_rows.sessions(rows)
    return pa.table({"source_sha256": pa.array(digests, pa.string())})


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage on the newest core of a data set and print its summary as JSON."""
    parser = common.parser(__doc__)
    parser.add_argument("--no-repeats", action="store_false", dest="repeats")
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--ties", choices=TIES, default="hash")
    options, dataset, settings = common.parse(parser, argv)
    core = common.newest(settings, dataset, "interactions", f"{dataset!r} has no k-core yet")
    ingest = common.newest(
        settings, dataset, "sources", f"nothing was ingested for {dataset!r} yet"
    )
    print(json.dumps(dict(run(dataset, ingest, core, **options, settings=settings).summary)))


if __name__ == "__main__":
    main()
