"""The leaderboard as LaTeX, Markdown and CSV: the terminal's numbers, whatever a name holds."""

from __future__ import annotations

import csv
import io
import re
import statistics

import numpy as np
import pytest

from mrl4rec import reporting as report
from mrl4rec.core.settings import Settings
from mrl4rec.reporting.runs import load_runs
from tests.mrl4rec.reporting.per_user_samples import write
from tests.mrl4rec.reporting.report_warehouse import Model, dump, results

RECALLS = (0.07, 0.072, 0.0745)


@pytest.fixture
def rows(settings: Settings) -> list[dict[str, object]]:
    dump(settings, "a_b")
    models = [Model("MRL-M", r, seed=seed, levels="4,64") for seed, r in enumerate(RECALLS)]
    results(settings, "a_b", [*models, Model("EASE", 0.0956, settings={"lam": 200.0}),
                              Model("EASE", 0.05, settings={"lam": 50.0})])  # fmt: skip
    return report.leaderboard(settings)


MACROS = {"begin", "end", "caption", "centering", "toprule", "midrule", "bottomrule", "textbf",
          "pm", "cdot", "geq", "dagger", "ddagger", "textasciitilde", "textasciicircum",
          "textbackslash", "small", "scriptsize", "phantom"}  # fmt: skip


def check_latex(text: str) -> None:
    """What LaTeX with booktabs would refuse: braces, environments, cells, macros, characters."""
    depth, opened = 0, []
    for token in re.findall(r"\\(?:begin|end){\w+}|\\.|[{}]", text):
        depth += {"{": 1, "}": -1}.get(token, 0)
        assert depth >= 0
        if token.startswith(r"\begin{"):
            opened.append(token[7:-1])
        elif token.startswith(r"\end{"):
            assert opened.pop() == token[5:-1]
    assert not depth
    assert not opened
    for spec, body in re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, re.S):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert rows
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(spec)}
    assert set(re.findall(r"\\([a-zA-Z]+)", text)) <= MACROS
    math = re.sub(r"\$[^$]*\$", "", re.sub(r"\\[$\\]", "", text))
    outside = re.sub(r"\\[a-zA-Z]+|\\.", "", math)
    assert not set(outside) & set("_^#%~$")
    assert outside.isascii()


def test_names_with_characters_that_mean_something_to_latex(settings: Settings) -> None:
    dump(settings, "a_b")
    odd = "x_{1}^2 & 50 % of $5 ~ #\\"
    results(settings, "a_b", [Model("EASE", 0.09, settings={"v": odd}),
                              Model("EASE", 0.08, settings={"v": "≥ 4 – 5 · †"})])  # fmt: skip
    check_latex(report.as_latex(report.leaderboard(settings)))


def test_latex_has_each_value_once_and_the_best_bold(rows: list[dict[str, object]]) -> None:
    text = report.as_latex(rows)
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    lines = [line.split(" & ") for line in body.strip().splitlines()]
    assert [line[0] for line in lines] == ["EASE (lam=200.0)", "MRL-M", "EASE (lam=50.0)"]
    assert {len(line) for line in lines} == {text.count("@", 0, text.index("midrule")) + 2}
    assert r"\textbf{0.0956}" in lines[0][3]
    mean, sd = statistics.fmean(RECALLS), statistics.stdev(RECALLS)
    assert lines[1][3] == rf"{mean:.4f} {{\scriptsize $\pm$ {sd:.4f}}}"
    caption = re.search(r"\\caption{(.*)}", text)
    assert caption is not None
    for word in (r"a\_b", "random", "clean", "3 seeds"):
        assert word in caption[1]
    check_latex(text)


def test_csv_reads_back_as_the_rows(rows: list[dict[str, object]]) -> None:
    found = list(csv.DictReader(io.StringIO(report.as_csv(rows))))
    assert [row["method"] for row in found] == ["EASE (lam=200.0)", "MRL-M", "EASE (lam=50.0)"]
    assert float(found[1]["recall@20"]) == statistics.fmean(RECALLS)
    assert float(found[1]["recall@20 sd"]) == statistics.stdev(RECALLS)
    assert found[0]["recall@20 sd"] == ""
    assert {(row["dataset"], row["protocol"], row["split"]) for row in found} == {
        ("a_b", "clean", "random")
    }


@pytest.fixture
def tested(settings: Settings) -> tuple[Settings, list[dict[str, object]]]:
    """The best, one that differs from it by noise, one that is clearly worse, one unknown."""
    dump(settings, "tools")
    models = [Model("EASE", 0.09), Model("BPR", 0.088, seed=0), Model("BPR", 0.089, seed=1),
              Model("BCE", 0.05, seed=0), Model("Pop", 0.03)]  # fmt: skip
    results(settings, "tools", models)
    rng = np.random.default_rng(0)
    base = rng.random(60)
    shift = {"EASE": 0.001, "BPR": 0.0, "BCE": -0.5}
    for run in load_runs(settings, "tools"):
        if run.method in shift:
            write(settings, run, base + shift[run.method] + 0.05 * rng.normal(size=60))
    return settings, report.leaderboard(settings)


def test_what_is_not_significantly_different_from_the_best_is_marked(
    tested: tuple[Settings, list[dict[str, object]]],
) -> None:
    settings, rows = tested
    found = {r["method"]: r for r in csv.DictReader(io.StringIO(report.as_csv(rows, settings)))}
    said = {name: row["recall@20 vs best"] for name, row in found.items()}
    assert said == {"EASE": "best", "BPR": "not significant", "BCE": "worse", "Pop": ""}
    out = io.StringIO()
    report.print_leaderboard(rows, out, settings=settings)
    marked = [line for line in out.getvalue().splitlines() if re.search(r"\d†", line)]
    assert [line.split()[0] for line in marked] == ["BPR"]
    legend = out.getvalue().rpartition("†:")[2]
    assert "best" in legend
    assert re.search(r"Not tested.*: Pop\.", legend, re.S)
    assert "one seed" in legend  # BCE
    lines = [r for r in report.as_markdown(rows, settings).splitlines() if r.count("†") > 1]
    assert [line.split(" | ")[0] for line in lines] == ["| BPR"]
    latex = report.as_latex(rows, settings)
    check_latex(latex)
    assert [r.split(" & ")[0] for r in latex.splitlines() if r.count("dagger") == 6] == ["BPR"]
    assert "dagger" in latex.partition(r"\end{tabular}")[0].partition(r"\caption")[2]


def test_without_the_users_values_nothing_is_marked_and_the_legend_says_so(
    settings: Settings, rows: list[dict[str, object]]
) -> None:
    text = report.as_markdown(rows, settings)
    assert "†" not in text
    assert "missing" in text
    assert "†" not in report.as_markdown(rows)


@pytest.mark.parametrize("others", [(), ("EASE",)])
def test_a_reconstruction_is_called_one_wherever_it_is_shown(
    settings: Settings, others: tuple[str, ...]
) -> None:
    dump(settings, "tools")
    results(settings, "tools", [Model(name, 0.09) for name in ("MTMI-K1", *others)])
    rows, out = report.leaderboard(settings), io.StringIO()
    report.print_leaderboard(rows, out)
    check_latex(report.as_latex(rows))
    for text in (out.getvalue(), report.as_latex(rows), report.as_markdown(rows, settings)):
        assert re.search(r"a reconstruction", text)
        assert "EASE:" not in text


def test_markdown_has_the_board_then_the_widths(rows: list[dict[str, object]]) -> None:
    heads = [line for line in report.as_markdown(rows).splitlines() if line.startswith("### ")]
    assert len(heads) == 2
    assert heads[1].startswith(heads[0])
    tables = report.as_markdown(rows).split("### ")[1:]
    for table in tables:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1
