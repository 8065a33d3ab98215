"""One function a command. Each prints for people, or returns what ``--json`` prints."""

from __future__ import annotations

import logging
import shlex
import signal
from argparse import Namespace
from pathlib import Path
from typing import Any

from flows import ahead, console, data_engine, ephemeral, preflight
from flows.hierarchy_commands import hierarchy
from flows.inspect_commands import inspect
from flows.quarantine_command import quarantine
from flows.registry_commands import ledger, promote, recommend, registry, rollback, vacuum
from flows.request import DEFAULT_DATASET, Request, dataset_of, from_options
from flows.retrain_commands import retrain
from flows.simulate_commands import simulate
from flows.tune_commands import tune
from mrl4rec import presets
from mrl4rec.errors import UsageError
from mrl4rec.masking import masked
from mrl4rec.settings import Settings

__all__ = ["hierarchy", "inspect", "ledger", "promote", "quarantine", "recommend", "registry",
           "retrain", "rollback", "simulate", "tune", "vacuum"]  # fmt: skip

log = logging.getLogger("mrl4rec")


def _request(arguments: Namespace) -> Request:
    """What the options and the preset come to; an option that was given wins."""
    told = {name: getattr(arguments, name) for name in getattr(arguments, "told", ())}
    named = {"dataset": arguments.dataset or dataset_of(arguments.source) or DEFAULT_DATASET}
    return from_options({**vars(arguments), **named, **presets.values(arguments.preset, told)})


def run(arguments: Namespace) -> Any:
    """The flow, on a server of its own unless PREFECT_API_URL names one."""
    request = _request(arguments)
    settings = Settings()
    preflight.check(request, settings)
    server = ephemeral.start()
    _opening(request, settings)
    ahead.begin(request, settings)
    from flows.benchmark import benchmark
    from flows.pipeline import preload

    if server:
        preload()
        ahead.imports_while_waiting(request, settings)
        server.wait()
    asked = request.parameters()
    outcome = benchmark(
        datasets=[asked.pop("dataset")], **{**asked, "source": asked["source"] or None}
    )
    if arguments.json:
        return outcome.rows
    from mrl4rec import report

    report.print_leaderboard(outcome.rows)
    for note in outcome.notes:
        print(f"data    {note}")
    print(f"report  {outcome.report}")
    print(f"runs    MLFLOW_TRACKING_URI={shlex.quote(masked(settings.mlflow_uri()))}")
    print(f"next    {console.command(settings, 'up')}   (MLflow and Prefect in the browser)")
    return None


def _opening(request: Request, settings: Settings) -> None:
    from flows.estimate import sentence

    source = ", ".join(request.source) or f"the catalogue's {request.dataset}"
    log.info("data set %s from %s", request.dataset, source)
    log.info(
        "%d models to train or find, protocol %s: %s",
        len(request.cells),
        request.protocol,
        sentence(request),
    )
    log.info(
        "ingest, k-core, split, then train and evaluate each model; every stage behind "
        "its gate, none done twice"
    )
    log.info("warehouse %s", settings.warehouse.absolute())


def stage(arguments: Namespace, until: str) -> Any:
    """One stage, with what it needs before it (found done where it is)."""
    from flows.pipeline import Pipeline

    request = _request(arguments)
    preflight.check(request, Settings())
    settings = data_engine.choose(Settings())
    pipeline = Pipeline(request, settings)
    if until in ("ingest", "kcore", "split"):
        prepared = pipeline.prepare(until)
        commit = {"ingest": prepared.ingest, "kcore": prepared.core, "split": prepared.split}[until]
        assert commit is not None
        return _stage_answer(arguments, until, commit)
    pipeline.prepare()
    data_engine.stop_spark(settings)
    answers = []
    for cell in request.cells:
        train = pipeline.train(cell)
        done = pipeline.evaluate(train, cell) if until == "evaluate" else train
        answers.append(
            {"model": cell.label, "stage_key": done.key, "found": done.found, **dict(done.summary)}
        )
    if arguments.json:
        return answers
    console.table(
        until,
        ["model", "stage key", "state"],
        [[a["model"], a["stage_key"], "found done" if a["found"] else "ran"] for a in answers],
    )
    return None


def _stage_answer(arguments: Namespace, until: str, commit: Any) -> Any:
    summary = commit.summary
    if until == "ingest":
        names = ("sources", "total", "rules", "first_bad", "notes")
        answer = {name: summary[name] for name in names if name in summary}
        if arguments.json:
            return answer
        columns = [
            "path",
            "format",
            "rows_read",
            "rows_accepted",
            "rows_duplicate",
            "rows_quarantined",
        ]
        rows = [[source[name] for name in columns] for source in summary["sources"]]
        rows.append(["total", "", *(summary["total"][name] for name in columns[2:])])
        console.table(f"reviews version {commit.table_version('reviews')}", columns, rows)
        return None
    if arguments.json:
        names = ("interactions", "users", "items", "rounds") if until == "kcore" else tuple(summary)
        return {name: summary[name] for name in names}
    console.table(
        f"{commit.table} version {commit.version}",
        ["fact", "value"],
        [[name, str(value)] for name, value in summary.items()],
    )
    return None


def datasets(arguments: Namespace) -> Any:
    """The catalogue."""
    from mrl4rec.catalog import CATALOG

    rows = [[e.name, e.title, e.kcore, e.split, e.licence] for e in CATALOG.values()]
    columns = ["name", "title", "kcore", "split", "licence"]
    if arguments.json:
        return [dict(zip(columns, row, strict=True)) for row in rows]
    console.table("mrl4rec run --dataset NAME", columns, rows)
    return None


def compare(arguments: Namespace) -> Any:
    """The leaderboard of what has been run; with names, the paired tests between them."""
    from mrl4rec import report

    if arguments.models:
        from flows.compare_commands import paired

        return paired(arguments)
    rows = report.leaderboard(Settings(), arguments.dataset)
    if arguments.json:
        return rows
    report.print_leaderboard(rows)
    return None


def report(arguments: Namespace) -> Any:
    """The HTML page, or its tables as Markdown."""
    from mrl4rec import report as pages

    chosen = [arguments.dataset] if arguments.dataset else None
    if arguments.markdown:
        from mrl4rec.report import markdown

        written = markdown.write(Settings(), chosen, Path(arguments.markdown))
        if arguments.json:
            return {"markdown": str(written)}
        print(written)
        return None
    page = pages.build(Settings(), chosen, Path(arguments.out) if arguments.out else None)
    if arguments.json:
        return {"report": str(page)}
    print(page)
    return None


def tables(arguments: Namespace) -> Any:
    """What is in the warehouse."""
    from flows.inspect_tables import history_of, overview

    settings = Settings()
    if arguments.name:
        columns, rows = history_of(settings, arguments.name, arguments.dataset)
    else:
        columns, rows = overview(settings, arguments.dataset)
    if arguments.json:
        return [dict(zip(columns, row, strict=True)) for row in rows]
    console.table(str(settings.warehouse), columns, rows)
    return None


def export(arguments: Namespace) -> Any:
    """Vectors to serve."""
    from mrl4rec import export as exporting

    settings = Settings()
    folder = _model_folder(settings, arguments.model)
    name = f"{folder.name[:12]}-{arguments.width or 'full'}{'-rotated' if arguments.rotate else ''}"
    out = Path(arguments.out) if arguments.out else settings.warehouse / "export" / name
    written = exporting.run(folder, arguments.width, arguments.rotate, arguments.format, out)
    if arguments.json:
        return {"export": str(written)}
    print(written)
    return None


def _model_folder(settings: Settings, name: str) -> Path:
    if (Path(name) / "model.json").exists():
        return Path(name)
    hits = sorted(settings.warehouse.glob(f"*/models/{name}*/model.json")) if name.isalnum() else []
    if len(hits) != 1:
        known = sorted(p.parent.name[:12] for p in settings.warehouse.glob("*/models/*/model.json"))
        raise UsageError(
            f"{len(hits) or 'no'} model folders match {name!r}",
            where=str(settings.warehouse),
            todo="give one of: "
            + (", ".join(known[:20]) or "none yet; train one by `mrl4rec run`"),
        )
    return hits[0].parent


def up(arguments: Namespace) -> Any:
    """Servers on loopback."""
    from flows.stack import up as start

    return start(Settings(), arguments.prefect_port, arguments.mlflow_port, arguments.json)


def bench(arguments: Namespace) -> Any:
    """The benchmark; its page is written where every measurement ran at full size."""
    from mrl4rec import bench as benchmark

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it measures ends with it
    data = Path(arguments.data) if arguments.data else None
    rows = benchmark.run(arguments.only, arguments.size, data)
    ok = all(row.seconds is not None for row in rows)
    whole = not arguments.only and arguments.size == "full" and ok
    if arguments.out:
        benchmark.write_page(rows, Path(arguments.out))
    elif whole:
        benchmark.write_page(rows)
    if not arguments.json:
        print(benchmark.table(rows))
    return {"ok": ok, "rows": [row.as_dict() for row in rows]}


def doctor(arguments: Namespace) -> Any:
    """What is missing here."""
    from flows.doctor import examine

    findings = examine(Settings())
    ok = all(finding.ok for finding in findings)
    if arguments.json:
        return {"ok": ok, "findings": [vars(finding) for finding in findings]}
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'MISS'}  {finding.what}")
        if not finding.ok:
            print(f"      what to do: {finding.todo}")
    return {"ok": ok}


def setup(arguments: Namespace) -> Any:
    """Delta's JARs, once, where there is a Java that Spark takes."""
    from mrl4rec.transforms import spark_session

    settings, java = Settings(), spark_session.java_version()
    there = java is not None and java >= spark_session.JAVA
    jars = spark_session.resolve_jars(settings) if there else []
    if arguments.json:
        return {"java": java, "jars": jars}
    if there:
        print(f"{len(jars)} io.delta JARs in {settings.jars}")
    else:
        print(f"Java {spark_session.JAVA} was not found: Spark is left out, DuckDB needs no Java")
    return None
