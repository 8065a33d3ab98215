"""The leaderboard as LaTeX, Markdown and CSV: the terminal's numbers, whatever a name holds."""

from __future__ import annotations

import csv
import io
import re
import statistics

import pytest

from mrl4rec import reporting as report
from mrl4rec.core.settings import Settings
from tests.mrl4rec.reporting.report_warehouse import Model, dump, results

RECALLS = (0.07, 0.072, 0.0745)


@pytest.fixture
def rows(settings: Settings) -> list[dict[str, object]]:
    dump(settings, "a_b")
    models = [Model("MRL-M", r, seed=seed, levels="4,64") for seed, r in enumerate(RECALLS)]
    results(settings, "a_b", [*models, Model("EASE", 0.0956, settings={"lam": 200.0}),
                              Model("EASE", 0.05, settings={"lam": 50.0})])  # fmt: skip
    return report.leaderboard(settings)


def test_latex_has_each_value_once_and_the_best_bold(rows: list[dict[str, object]]) -> None:
    text = report.as_latex(rows)
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    lines = [line.split(" & ") for line in body.strip().splitlines()]
    assert [line[0] for line in lines] == ["EASE (lam=200.0)", "MRL-M", "EASE (lam=50.0)"]
    assert {len(line) for line in lines} == {text.count("@", 0, text.index("midrule")) + 2}
    assert r"\textbf{0.0956}" in lines[0][3]
    mean, sd = statistics.fmean(RECALLS), statistics.stdev(RECALLS)
    assert lines[1][3] == rf"{mean:.4f} $\pm$ {sd:.4f}"
    caption = re.search(r"\\caption{(.*)}", text)
    assert caption is not None
    for word in (r"a\_b", "random", "clean", "3 seeds"):
        assert word in caption[1]
    for opened in ("table", "tabular"):
        assert text.count(rf"\begin{{{opened}}}") == text.count(rf"\end{{{opened}}}") == 1
    assert not re.search(r"(?<!\\)[_%#&](?! )", text.replace(" & ", ""))


def test_csv_reads_back_as_the_rows(rows: list[dict[str, object]]) -> None:
    found = list(csv.DictReader(io.StringIO(report.as_csv(rows))))
    assert [row["method"] for row in found] == ["EASE (lam=200.0)", "MRL-M", "EASE (lam=50.0)"]
    assert float(found[1]["recall@20"]) == statistics.fmean(RECALLS)
    assert float(found[1]["recall@20 sd"]) == statistics.stdev(RECALLS)
    assert found[0]["recall@20 sd"] == ""
    assert {(row["dataset"], row["protocol"], row["split"]) for row in found} == {
        ("a_b", "clean", "random")
    }


def test_markdown_has_the_board_then_the_widths(rows: list[dict[str, object]]) -> None:
    heads = [line for line in report.as_markdown(rows).splitlines() if line.startswith("### ")]
    assert len(heads) == 2
    assert heads[1].startswith(heads[0])
    tables = report.as_markdown(rows).split("### ")[1:]
    for table in tables:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1
