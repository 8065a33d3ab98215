"""The tables of a warehouse as one Markdown page, with the commands that made them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import mrl4rec
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import write_whole
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import stage_key
from mrl4rec.evaluation.hierarchy.results import rows_of
from mrl4rec.reporting import boards, caveats, evidence_views, sequence_views, views
from mrl4rec.reporting.cells import Table
from mrl4rec.reporting.command import commands
from mrl4rec.reporting.compare import compare
from mrl4rec.reporting.costs import cost
from mrl4rec.reporting.evidence import HISTORY, LENGTHS, Evidence, evidence
from mrl4rec.reporting.figures import sweep
from mrl4rec.reporting.hierarchy import by_place
from mrl4rec.reporting.hierarchy import tables as hierarchy_tables
from mrl4rec.reporting.runs import Group, at_full_width, group, headline, load_runs
from mrl4rec.reporting.split_views import over_splits
from mrl4rec.reporting.warehouse import Context, contexts, source_rows
from mrl4rec.training.tuning.store import tunings

HEAD = """# Results

Made by `mrl4rec report --markdown {name}` (mrl4rec {version}) from the tables of a warehouse;
nothing is typed by hand. Values are at full width unless a width is named; over several seeds mean
± standard deviation. **Bold** is the best of a column. candidates: negatives drawn for each
positive; seconds, MiB: to train one model, and the most its process held; tuned: settings tried on
valid before. Rotated vectors stand in the tables by width alone: whole, they score as they did.
"""
TEST_SHARES = {"random": 0.2, "per_user_random": 0.2, "global_time": 0.2}
"""Of the strategies that take one; it is a part of the split's stage key."""
DRAWN_BEFORE = (
    "Code version 1 of the split stage drew these folds; version 2 draws by another hash, so that "
    "the same command gives other folds.\n"
)
VALID_DRAWN_BEFORE = (
    "Code version 1 of the split stage drew which pairs are valid; version 2 draws by another "
    "hash, so that protocol `clean` may choose another epoch. The test pairs are the same.\n"
)


def write(settings: Settings, datasets: Sequence[str] | None, out: Path) -> Path:
    """Write the tables of some data sets (None: all); answer the path.

    Raises UsageError where there is no such data set, Mrl4recError where it cannot be written.
    """
    parts = [HEAD.format(name=out.as_posix(), version=mrl4rec.__version__)]
    for name in settings.storage.chosen(datasets):
        parts += _dataset(settings, name)
    text = "\n".join(parts).rstrip() + "\n"
    try:
        write_whole(out, text, durable=False)
    except OSError as error:
        raise Mrl4recError(
            f"the page could not be written: {error.strerror or error}",
            where=str(out),
            todo="name another place: mrl4rec report --markdown FILE",
        ) from error
    return out


def table(found: Table) -> str:
    """A table in Markdown, numbers to the right, the best in bold."""
    rule = ["---:" if at in found.numeric else "---" for at in range(len(found.head))]
    lines = [_line(found.head), "|" + "|".join(rule) + "|"]
    for r, row in enumerate(found.rows):
        lines.append(
            _line([f"**{c}**" if (r, at) in found.best else c for at, c in enumerate(row)])
        )
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _dataset(settings: Settings, name: str) -> Iterator[str]:
    found = contexts(settings, name, load_runs(settings, name))
    yield f"## {name}\n"
    for context in found:
        yield from _context(settings, context)
    for splits in over_splits(found):
        yield "### The same methods on other splits\n"
        yield table(splits)
    for where, rows in by_place(rows_of(settings, name), found):
        for title, measured in hierarchy_tables(rows).items():
            yield f"### Hierarchy: {title}, {where}\n"
            yield table(measured)


def _context(settings: Settings, context: Context) -> Iterator[str]:
    if context.counts is not None:
        users, items, pairs = context.counts
        yield (
            f"Split {context.split_name}: {pairs:,} interactions of {users:,} users with "
            f"{items:,} items. Tables: "
            + ", ".join(f"{table} @ {version}" for table, version in context.versions().items())
            + f". Made with {views.created_with(context) or 'nothing yet'}.\n"
        )
    if _is_drawn_before(settings, context):
        strategy = context.split.summary["strategy"] if context.split else None
        yield VALID_DRAWN_BEFORE if strategy in ("predefined", "since") else DRAWN_BEFORE
    yield "```\n" + "\n".join(commands(settings, context, relative=True)) + "\n```\n"
    groups = group(context.runs)
    for protocol in dict.fromkeys(one.protocol for one in groups):
        of_it = [one for one in groups if one.protocol == protocol]
        yield from _board(settings, context, protocol, of_it)
    comparison = compare(context, groups)
    if comparison is not None:
        yield f"### Paper beside measured: {comparison.known.name}\n"
        yield from (note + "\n" for note in comparison.notes)
        if comparison.measured is not None:
            yield table(comparison.measured)


def _sequences(groups: Sequence[Group], protocol: str) -> Iterator[str]:
    _, k = headline([run for one in groups for run in one.runs])
    for title, legend, found in (
        ("History masked and not", sequence_views.LEGEND, sequence_views.masked(groups, k)),
        ("Several vectors a user", sequence_views.MERGED, sequence_views.by_vectors(groups)),
    ):
        if found is not None:
            yield f"#### {title}, protocol {protocol}\n"
            yield table(found)
            yield f"{legend}\n"


def _is_drawn_before(settings: Settings, context: Context) -> bool:
    """Whether code version 1 of the split stage drew the folds, as the stage key tells."""
    core, split = context.core, context.split
    if core is None or split is None:
        return False
    said = {n: split.summary[n] for n in ("strategy", "split_seed", "since") if n in split.summary}
    files = {}
    if said.get("strategy") == "predefined":  # named after their folds: train.txt, test.txt.gz
        rows = source_rows(settings, context)
        files = {Path(row["path"]).name.split(".")[0]: row["source_sha256"] for row in rows}
    params = {**said, "test_share": TEST_SHARES.get(str(said.get("strategy")))}
    return stage_key("split", 1, {"kcore": core.key, "files": files}, params) == split.key


def _board(
    settings: Settings, context: Context, protocol: str, groups: Sequence[Group]
) -> Iterator[str]:
    studies = tunings(settings, context.dataset)
    everything, by_width, groups = groups, views.by_width(groups), at_full_width(groups)
    spent = {one.name: cost(one, studies) for one in groups}
    yield f"### Protocol {protocol}\n"
    tested = boards.marked(settings, groups)
    yield table(views.board(groups, boards.MAIN, spent, tested))
    for note in (tested.legend, *caveats.notes(one.label for one in everything)):
        yield from [f"{note}\n"] if note else []
    if context.of_sequences:
        yield from _sequences(groups, protocol)
    if by_width is not None:
        yield f"#### By width, protocol {protocol}\n"
        yield table(by_width)
    swept = sweep(groups)
    if swept:
        yield f"#### By level set, protocol {protocol}\n"
        yield table(views.level_sweep(swept, None))
    proof = evidence(settings, groups, LENGTHS if context.of_sequences else HISTORY)
    if isinstance(proof, Evidence):
        yield f"#### Significance, protocol {protocol}\n"
        yield (
            f"{proof.place.name}, {proof.users:,} users; rows that share a letter are not "
            "significantly different (sign-flip test of every pair, Holm, 5 %).\n"
        )
        yield table(evidence_views.standing(proof))
        for title in ("by_history" if context.of_sequences else "by_activity", "by_popularity"):
            sliced = evidence_views.tables(proof)[title]
            if sliced is not None:
                yield table(sliced)
    for judged in boards.judgements(settings, everything, context.of_sequences):
        yield f"#### {judged.title}, protocol {protocol}\n"
        yield (
            "\n".join(
                f"- **{one.verdict}**: {one.claim.words} ({one.claim.source}). {one.sentence}."
                for one in judged.found
            )
            + "\n"
        )
        yield table(judged.table)
    yield f"#### Cost, protocol {protocol}\n"
    yield table(evidence_views.costs(groups, spent))
