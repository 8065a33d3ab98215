"""Lists every row that breaks an expectation of a gate that failed, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pyarrow as pa

from jobs import common
from mrl4rec.checks.gate.verdicts import last_failure
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import table_at
from mrl4rec.transforms.engine import Engine
from mrl4rec.transforms.facts import Amiss, columns_amiss, sample
from mrl4rec.transforms.opening import open_engine


def problems(settings: Settings, dataset: str, versions: Mapping[str, int]) -> list[Amiss]:
    """The columns of table versions that are not as declared."""
    uri = common.Tables(settings, dataset).uri
    opened = {table: table_at(uri(table), version) for table, version in versions.items()}
    return columns_amiss({t: pa.schema(d.schema().to_arrow()) for t, d in opened.items()})


def bind(engine: Engine, settings: Settings, dataset: str, versions: Mapping[str, int]) -> None:
    """Make table versions relations with the tables' names; columns not declared are left out."""
    tables = common.Tables(settings, dataset)
    for table, version in versions.items():
        tables.read(engine, table, version)


def main(argv: Sequence[str] | None = None) -> None:
    """List the rows that break one expectation of a failed gate, as JSON lines."""
    parser = common.parser(main.__doc__)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--expectation", required=True)
    parser.add_argument("--rows", type=int, default=100, help="list at most so many")
    options, dataset, settings = common.parse(parser, argv)
    verdict, finding = last_failure(settings, dataset, options["suite"], options["expectation"])
    if finding.listing is None:
        raise UsageError(f"{finding.name} is not about rows", todo="see its gate's Data Docs page")
    if "{" in finding.listing:
        raise Mrl4recError(
            "this verdict was given before the gates were written for DuckDB, and lists by Spark",
            todo="run the command that failed again: the gate judges again",
        )
    versions = {table: int(version) for table, version in verdict.read.items()}
    with open_engine(settings) as engine:
        bind(engine, settings, dataset, versions)
        for row in sample(engine, finding.listing, options["rows"]):
            print(json.dumps(row, default=str, ensure_ascii=False))


if __name__ == "__main__":
    main()
