"""One self-contained HTML page of a warehouse: no scripts, no outside files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import mrl4rec
from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath, relative, write_whole
from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.hierarchy.results import rows_of
from mrl4rec.reporting import figures, hierarchy, inputs, promotion_figures, promotions, views
from mrl4rec.reporting.boards import board
from mrl4rec.reporting.cells import Table, text
from mrl4rec.reporting.command import commands
from mrl4rec.reporting.compare import Comparison, compare
from mrl4rec.reporting.panels import panels, slug
from mrl4rec.reporting.portrait import portrait
from mrl4rec.reporting.runs import Group, gate_rows, group, load_runs
from mrl4rec.reporting.split_views import over_splits
from mrl4rec.reporting.warehouse import Context, contexts, names_of, source_rows
from mrl4rec.tables.splits import EVERY_FOLD
from mrl4rec.training.tuning.store import tunings

with lazy.imports():
    import jinja2

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
OF_RETRAINING = {"champion_over_time": "test pairs of each window, split since its begin"}
"""What a figure is of, where it is not of the dumps."""
CONTENTS = (
    ("splits", "Other splits"),
    ("hierarchy", "Hierarchy in the prefixes"),
    ("promotions", "Retraining"),
    ("configs", "Run again"),
    ("gates", "Gates"),
)
"""What a data set may have beside its leaderboards: its anchor, and what it is called."""


def build(
    settings: Settings, datasets: Sequence[str] | None = None, out: AnyPath | None = None
) -> AnyPath:
    """Write the report of some data sets (None: all) to ``out``; answer its path.

    A page that was made of the same is left as it is. ``out`` None is ``<warehouse>/report.html``.
    Raises UsageError where there is no such data set or the warehouse is empty, Mrl4recError where
    the page cannot be written.
    """
    names = settings.storage.chosen(datasets)
    path = (out or settings.storage.report_file).absolute()
    wanted = inputs.digest(settings, names, path.parent)
    if inputs.made_of(path) != wanted:
        sections = [_dataset(settings, name, path.parent) for name in names]
        _write(path, _render(settings, sections, wanted))
    return path


def _dataset(settings: Settings, name: str, beside: AnyPath) -> dict[str, Any]:
    runs = load_runs(settings, name)
    found = contexts(settings, name, runs)
    several = len(found) > 1
    parts = [
        _context(settings, context, f"{name}-{n}", title if several else None)
        for n, (context, title) in enumerate(zip(found, names_of(found), strict=True))
    ]
    gates = _gates(settings, name, beside)
    failed = sum(row[3] != "pass" for row in gates.rows) if gates else 0
    made = {
        "name": name,
        "anchor": slug(name),
        "parts": parts,
        "configs": _configs(settings, name),
        "gates": gates,
        "failed": failed,
        "splits": over_splits(found),
        "hierarchy": _hierarchy(settings, name, found),
        "promotions": _promotions(settings, name),
    }
    return {**made, "contents": [(part, title) for part, title in CONTENTS if made[part]]}


def _configs(settings: Settings, name: str) -> list[tuple[str, str]]:
    """Path and text of the option files that repeat the benchmarks, the newest first."""
    folder = settings.storage.configs_dir(name)
    files = sorted(
        ((file.stat().st_mtime, file) for file in folder.glob("*.yaml")),
        reverse=True,
        key=itemgetter(0),
    )
    return [(str(file), file.read_text(encoding="utf-8")) for _, file in files]


def _hierarchy(settings: Settings, name: str, found: Sequence[Context]) -> list[dict[str, Any]]:
    """What clusters of the prefixes say, where `mrl4rec hierarchy` has measured it."""
    out = []
    for number, (where, rows) in enumerate(hierarchy.by_place(rows_of(settings, name), found)):
        drawn, tables = hierarchy.figures(rows), hierarchy.figure_tables(rows)
        out += panels(drawn, tables, f"{name}-hierarchy-{number}", "", where)
    return out


def _promotions(settings: Settings, name: str) -> dict[str, Any] | None:
    """Retraining: ledger, drawings and drift; None where there was none."""
    found = promotions.history(settings, name)
    if not found.rows and not found.dumps:
        return None
    drawn = promotion_figures.draw(found)
    tables = {
        "champion_over_time": promotions.champion_table(found),
        "drift": promotions.drift_table(found),
        "drift_rows": promotions.dump_table(found),
        "drift_auc": promotions.dump_table(found),
    }
    return {
        "ledger": promotions.ledger_table(found),
        "dumps": promotions.dump_table(found),
        "figures": panels(
            drawn, tables, f"{name}-retraining", "", "each dump as it came", OF_RETRAINING
        ),
    }


def _context(
    settings: Settings, context: Context, anchor: str, title: str | None
) -> dict[str, Any]:
    groups = group(context.runs)
    studies = tunings(settings, context.dataset)
    by_protocol: dict[str, list[Group]] = {}
    for found in groups:
        by_protocol.setdefault(found.protocol, []).append(found)
    comparison = compare(context, groups)
    return {
        "anchor": slug(anchor),
        "title": title,
        "name": context.name,
        "facts": _facts(settings, context, comparison),
        "missing": _missing(context),
        "sources": views.sources(source_rows(settings, context)),
        "stages": views.stages(context),
        "boards": [
            board(settings, p, g, comparison, anchor, context.name, studies, context.of_sequences)
            for p, g in by_protocol.items()
        ],
        "comparison": comparison,
        "portrait": _portrait(settings, context, anchor),
        "commands": commands(settings, context),
        "made": f"This page: mrl4rec {mrl4rec.__version__}. Models: "
        f"{views.created_with(context) or 'none'}. Every number is read from the tables and model "
        "folders above; nothing is typed by hand.",
    }


def _portrait(settings: Settings, context: Context, anchor: str) -> dict[str, Any]:
    found = portrait(settings, context)
    degrees = views.degree_table(found)
    tables = {
        "user_degrees": degrees,
        "item_degrees": degrees,
        "rows_over_time": views.time_table(found),
        "ratings": views.rating_table(found),
        "quarantine": views.rules(found),
    }
    notes = []
    if found.rows and not found.timed:
        notes.append("The dump has no times.")
    if found.rows and not [r for r, _ in found.ratings if r is not None]:
        notes.append("The dump has no ratings.")
    if context.ingest is not None and not found.rules:
        notes.append("No record was quarantined.")
    drawn = panels(figures.dump(found), tables, anchor, "", f"dump and core ({context.core_name})")
    return {"degrees": degrees, "rules": views.rules(found), "figures": drawn, "notes": notes}


def _facts(
    settings: Settings, context: Context, comparison: Comparison | None
) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    counts = context.counts
    if counts is not None:
        users, items, interactions = counts
        said = f"{interactions:,} interactions of {users:,} users with {items:,} items"
        facts.append(
            ("data", said + (f": the paper's {comparison.known.name}" if comparison else ""))
        )
    core = context.core.summary if context.core else {}
    if "k" in core:
        rating = core.get("min_rating")
        least = f", ratings from {rating:g} up" if rating is not None else ""
        rounds = f"{core['k']}-core{least}, {core.get('rounds', '?')} rounds"
        facts.append(("core", rounds if core["k"] > 1 else f"no k-core filter{least}"))
    split = context.split.summary if context.split else {}
    if "strategy" in split:
        folds = ", ".join(
            f"{f.replace('_', ' ')} {text(split[f])}" for f in EVERY_FOLD if f in split
        )
        kind = " of sequences, in pairs of a user and an item" if context.of_sequences else ""
        facts.append(
            ("split", f"{split['strategy']}{kind}, seed {split.get('split_seed', '?')}: {folds}")
        )
    if context.of_sequences and context.sequences is not None:
        facts.append(("sequences", _sequences(context.sequences.summary)))
    if context.runs:
        seeds = sorted({run.seed for run in context.runs if run.seed is not None})
        protocols = ", ".join(sorted({run.protocol for run in context.runs}))
        listed = f", seeds {', '.join(map(str, seeds))}" if seeds else ""
        models = len({run.model or run.stage_key for run in context.runs})
        facts.append(("models", f"{models}, protocol {protocols}{listed}"))
    made = views.created_with(context)
    if made:
        facts.append(("made with", made))
    facts.append(("warehouse", str(settings.storage.dataset_dir(context.dataset).absolute())))
    return facts


def _sequences(made: Mapping[str, Any]) -> str:
    repeated = f"{text(made['repeated'])} repeats" if made.get("repeats") else "repeats dropped"
    most = made.get("max_length")
    kept = f", the newest {most} events of each" if most else ""
    return (
        f"{text(made['events'])} events of {text(made['sequences'])} users, {repeated}, the "
        f"longest has {text(made['longest'])}{kept}"
    )


def _missing(context: Context) -> list[str]:
    out = []
    wanted = (("ingest", context.ingest), ("kcore", context.core), ("split", context.split))
    for stage, commit in wanted:
        if commit is None:
            out.append(f"The stage {stage} has left no commit to read.")
    if not context.runs:
        name = context.dataset
        out.append(f"No model has been evaluated yet: run `mrl4rec run --dataset {name}`.")
    gone = sum(run.card is None for run in context.runs)
    if gone:
        out.append(f"The model folders of {gone} of {len(context.runs)} runs are not there: "
                   "their learning curves and settings are not shown.")  # fmt: skip
    return out


def _gates(settings: Settings, dataset: str, beside: AnyPath) -> Table | None:
    rows = gate_rows(settings, dataset)
    if not rows:
        return None
    head = ["table", "version", "suite", "verdict", "expectations met", "judged (UTC)", "Data Docs"]
    table = Table(head, numeric=frozenset({4}))
    folder = settings.storage.dataset_dir(dataset).absolute()
    for number, row in enumerate(rows):
        met = f"{row['evaluated'] - row['failed']} of {row['declared']}"
        version = str(row["version"])[: views.KEY]
        page = folder / row["data_docs"] if row["data_docs"] else None
        there = page is not None and page.exists()
        judged = f"{row['judged_at']:%Y-%m-%d %H:%M}"
        docs = "open" if there else "–"
        table.rows.append([row["table"], version, row["suite"], row["verdict"], met, judged, docs])
        if page is not None and there:
            table.links[number, 6] = relative(page, beside)
    return table


def _render(settings: Settings, sections: Sequence[Mapping[str, Any]], made_of: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        sections=sections,
        made_of=made_of,
        style=(HERE / "style.css").read_text(encoding="utf-8"),
        version=mrl4rec.__version__,
        now=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        warehouse=str(settings.warehouse.absolute()),
    )


def _write(path: AnyPath, html: str) -> None:
    try:
        write_whole(path, html, durable=False)
    except OSError as error:
        raise Mrl4recError(
            f"the report could not be written: {error.strerror or error}",
            where=str(path),
            todo="name another place: mrl4rec report --out FILE",
        ) from error
