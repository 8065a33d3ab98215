"""The report of a small warehouse made by hand: every number shown is the table's."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from deltalake import DeltaTable

from mrl4rec import reporting as report
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.reporting.cells import Table
from mrl4rec.reporting.leaderboard import boards
from mrl4rec.reporting.lines import lines
from mrl4rec.reporting.looks import looks
from mrl4rec.reporting.runs import Group, group, load_runs
from tests.mrl4rec.reporting.report_warehouse import (
    Counts,
    Model,
    commit,
    dump,
    gate,
    results,
    stage,
    value,
)

TOOLS = Counts(16_638, 10_217, 97_000, 10_772, 26_704, "predefined")
LEVELS = "4,8,16,32,64"
MODELS = [
    Model("Pop", 0.035),
    Model("EASE", 0.0956, settings={"lam": 200.0}),
    Model("BPR-D", 0.0660, seed=0, epoch=35),
    *(Model("MRL-M", r, LEVELS, s, epoch=35) for s, r in enumerate((0.071, 0.072, 0.0745))),
    Model("MRL-M", 0.069, "16,32,64", 0, epoch=30),
    Model("MRL-M", 0.0727, LEVELS, 2022, "paper", 40),
]


class Page(HTMLParser):
    """Tables (by their header row), references, tags and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.best: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self._cell: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "data")]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []
            self._is_best = "best" in (given.get("class") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            text = "".join(self._cell).strip()
            self.tables[-1][-1].append(text)
            if self._is_best:
                self.best.append(text)
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell is not None:
            self._cell.append(data)

    def table(self, *head: str) -> list[dict[str, str]]:
        """The rows of the first table whose header begins with ``head``."""
        for first, *rows in self.tables:
            if tuple(first[: len(head)]) == head:
                return [dict(zip(first, row, strict=True)) for row in rows]
        raise AssertionError(f"no table {head}")

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A warehouse with models, verdicts and Data Docs; tests leave it as it is."""
    settings = Settings(warehouse=tmp_path_factory.mktemp("tools"))
    dump(settings, "tools", TOOLS)
    results(settings, "tools", MODELS)
    docs = settings.storage.dataset_dir("tools") / "docs" / "index.html"
    docs.parent.mkdir(parents=True)
    docs.write_text("<p>docs</p>")
    gate(settings, "tools", "pass", "reviews", Path("docs/index.html"))
    gate(settings, "tools", "fail", "splits", None)
    return settings


@pytest.fixture(scope="module")
def html(tools: Settings) -> str:
    return report.build(tools).read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def page_of(settings: Settings) -> Page:
    return Page(report.build(settings).read_text())


def test_every_number_of_the_leaderboard_is_the_tables(page: Page) -> None:
    rows = page.table("method", "levels", "recall@10")
    shown = {(row["method"], row["levels"]): row for row in rows}
    assert next(iter(shown)) == ("EASE", "–")  # the best first
    wanted: dict[tuple[str, str], list[float]] = {}
    for model in MODELS:
        if model.protocol == "clean":
            wanted.setdefault((model.method, model.levels or "–"), []).append(model.recall)
    assert set(shown) == set(wanted)
    for name, recalls in wanted.items():
        widest = None if name[0] in ("EASE", "Pop") else 64
        for metric in ("recall", "ndcg"):
            for k in (10, 20, 50):
                values = [value(r, metric, k, widest) for r in recalls]
                text = f"{statistics.fmean(values):.4f}"
                if len(values) > 1:
                    text += f"±{statistics.stdev(values):.4f}".replace("±0.", "±.")
                assert shown[name][f"{metric}@{k}"] == text
    assert shown["MRL-M", LEVELS]["seeds"] == "3"
    assert shown["MRL-M", LEVELS]["epoch"] == "35"


def test_the_best_of_each_column_is_marked(page: Page) -> None:
    ease = next(r for r in page.table("method", "levels", "recall@10") if r["method"] == "EASE")
    assert {ease[f"recall@{k}"] for k in (10, 20, 50)} <= set(page.best)


def test_widths_and_level_sets(page: Page) -> None:
    by_width = page.table("method", "levels", "4 · 16 B", "8 · 32 B", "16 · 64 B")
    one = next(r for r in by_width if r["levels"] == "16,32,64")
    assert (one["4 · 16 B"], one["16 · 64 B"]) == ("–", f"{value(0.069, 'recall', 20, 16):.4f}")
    assert next(r for r in by_width if r["method"] == "EASE")["no prefixes"] == "0.0956"
    sweep = page.table("method", "level set", "levels")
    assert [r["levels"] for r in sweep] == ["3", "5"]


def test_paper_is_compared_with_the_paper_protocol_only(page: Page) -> None:
    rows = page.table("method", "metric", "level set", "paper")
    assert {row["method"] for row in rows} == {"MRL-M"}  # the one run of protocol `paper`
    recall = next(row for row in rows if row["metric"] == "recall@20")
    assert (recall["paper"], recall["measured"]) == ("0.0734", "0.0727")
    assert recall["difference"] == "−1.0 %"  # .0727 / .0734 = .9905


def test_clean_runs_say_why_they_are_not_compared(settings: Settings) -> None:
    dump(settings, "tools", TOOLS)
    results(settings, "tools", MODELS[:3])
    page = page_of(settings)
    assert "chooses the epoch on test" in page.text
    with pytest.raises(AssertionError):
        page.table("method", "metric", "level set", "paper")


def test_another_split_of_the_papers_data_is_named_so(settings: Settings) -> None:
    dump(settings, "tools", Counts(16_638, 10_217, 97_001, 10_771, 26_704, "random"))
    results(settings, "tools", [MODELS[-1]])
    assert "another split than the authors" in page_of(settings).text


def test_nothing_is_loaded_from_elsewhere(tools: Settings, html: str, page: Page) -> None:
    outside = [ref for ref in page.references if not ref.startswith(("#", "data:text/csv"))]
    assert outside == ["tools/docs/index.html"]
    assert (tools.warehouse / outside[0]).exists()
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert "url(http" not in html
    assert "@import" not in html
    verdicts = {row["table"]: row["verdict"] for row in page.table("table", "version", "suite")}
    assert verdicts == {"reviews": "pass", "splits": "fail"}
    assert "2 verdicts, 1 failed" in page.text


def test_each_table_is_downloaded_as_csv(html: str, page: Page) -> None:
    files = re.findall(r'download="([^"]+)" href="data:text/csv;charset=utf-8,([^"]+)"', html)
    assert len(files) == len(page.tables)
    assert len({name for name, _ in files}) == len(files)
    rows = list(csv.DictReader(io.StringIO(unquote(dict(files)["tools-0-clean-leaderboard.csv"]))))
    row = next(row for row in rows if row["levels"] == LEVELS)
    recalls = (0.071, 0.072, 0.0745)
    assert row["recall@20"] == f"{statistics.fmean(recalls):.4f}"
    assert row["recall@20 sd"] == f"{statistics.stdev(recalls):.4f}"
    assert next(r for r in rows if r["method"] == "EASE")["recall@20 sd"] == ""
    text = unquote(dict(files)["tools-0-files.csv"])
    assert "12.3 kB,12,8,1,3" in text


def test_cells_are_written_for_a_program() -> None:
    rows = [["a,b", "1,234", "0.5†"], ["†", "–", "0.4 ± 0.1"]]
    found = Table(["name, in full", "n", "value"], rows, numeric=frozenset({1, 2}))
    assert list(csv.reader(io.StringIO(found.as_csv()))) == [
        ["name, in full", "n", "value", "value sd", "value mark"],
        ["a,b", "1234", "0.5", "", "†"],
        ["†", "", "0.4", "0.1", ""],
    ]


def test_the_contents_lead_to_every_part(html: str) -> None:
    contents = html.partition("<nav")[2].partition("</nav>")[0]
    titles = re.findall(r">([^<]+)</a>", contents)
    for title in ("Leaderboard (clean)", "Leaderboard (paper)", "Widths and level sets", "Training",
                  "Paper beside measured", "The dump", "Gates"):  # fmt: skip
        assert title in titles
    targets = re.findall(r'href="#([^"]+)"', contents)
    assert len(targets) == len(set(targets)) == len(titles)
    assert set(targets) <= set(re.findall(r'<h[234] id="([^"]+)"', html))


def test_lines_differ_by_style_and_marker_as_well() -> None:
    methods = ("BPR-D", "ItemCF", "MRL-M", "SLIM", "EASE", "Pop")
    few = looks([Group(method, None, "clean", "") for method in methods])
    for name in ("color", "marker"):
        assert len({str(look[name]) for look in few.values()}) == len(methods)
    groups = [Group(f"{method}{end}", levels, "clean", "") for method in methods
              for end in ("", " rotated") for levels in (None, "4,8")]  # fmt: skip
    many = looks(groups)
    assert many == looks(groups[::-1])
    assert len({(str(look["linestyle"]), look["marker"]) for look in many.values()}) == 24
    assert many["BPR-D"]["color"] == many["BPR-D rotated"]["color"] == few["BPR-D"]["color"]


def test_ids_inside_the_pictures_are_unique(html: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'href="#([^"]+)"', html))
    assert used <= set(ids)


def test_the_dump_and_its_stages(page: Page) -> None:
    (source,) = page.table("file", "format")
    assert (source["file"], source["size"], source["read"]) == ("dump.json.gz", "12.3 kB", "12")
    rules = {row["rule"]: row["records"] for row in page.table("rule", "records")}
    assert rules == {"no_user": "2", "not_json": "1"}
    degrees = {row[""]: row for row in page.table("", "count", "least")}
    assert degrees["users in the dump"]["count"] == "4"
    assert degrees["items in the core"]["mean"] == "2.7"  # 8 pairs of 3 items
    stages = {row["stage"]: row for row in page.table("stage", "tables @ version")}
    assert stages["split"]["stage key"] == "3" * 12
    assert "134,476 interactions of 16,638 users" in page.text
    assert "--kcore 2 --split predefined" in page.text


def test_text_from_the_dump_is_escaped(html: str) -> None:
    assert "property name &lt;b&gt;" in html
    assert "property name <b>" not in html


def test_a_single_row_is_enough(settings: Settings) -> None:
    row = {"stage_key": "a" * 64, "metric": "hr", "k": 5, "width": None, "dataset": "one",
           "method": "Pop", "levels": None, "seed": None, "protocol": "clean", "epoch": None,
           "value": 0.25, "run_id": None}  # fmt: skip
    said = stage("evaluate", "results", "a" * 64, {}, {"model": "b" * 64})
    commit(settings, "one", "results", [row], said)
    page = page_of(settings)
    assert "0.2500" in page.text
    assert "model folders of 1 of 1 runs are not there" in page.text
    assert "ingest has left no commit" in page.text


def test_tables_without_models_say_what_is_missing(settings: Settings) -> None:
    dump(settings, "bare")
    page = page_of(settings)
    assert "No model has been evaluated yet" in page.text
    assert "mrl4rec split --dataset bare" in page.text
    with pytest.raises(Mrl4recError, match="no model has been evaluated"):
        report.leaderboard(settings, "bare")


def test_empty_warehouse_and_unknown_name(settings: Settings) -> None:
    with pytest.raises(UsageError, match="warehouse is empty"):
        report.build(settings)
    dump(settings, "tools")
    with pytest.raises(UsageError, match="did you mean tools"):
        report.build(settings, ["tool"])


def test_several_data_sets_are_sections(settings: Settings) -> None:
    for name in ("one", "two"):
        results(settings, name, [MODELS[0]])
    html = report.build(settings).read_text()
    assert html.index('id="one-0"') < html.index('id="two-0"')
    assert 'href="#two-0"' in html
    assert 'id="one-0"' not in report.build(settings, ["two"], settings.warehouse / "x").read_text()


def test_runs_a_gate_failed_are_left_out(settings: Settings) -> None:
    dump(settings, "tools")
    results(settings, "tools", MODELS[:2])
    gate(settings, "tools", "fail", "results", None)  # version 0: Pop
    assert {run.method for run in load_runs(settings, "tools")} == {"EASE"}


def test_leaderboard_rows_are_exactly_the_tables(tools: Settings) -> None:
    rows = report.leaderboard(tools, "tools")
    columns = ["stage_key", "dataset", "method", "levels", "seed", "protocol", "epoch", "width",
               "k", "metric", "value"]  # fmt: skip
    uri = tools.storage.table_uri("tools", "results")
    table = DeltaTable(uri).to_pyarrow_table(columns=columns).to_pylist()
    shown = [{name: row[name] for name in columns} for row in rows]
    assert sorted(map(str, shown)) == sorted(map(str, table))
    names = ("dataset", "core", "split_key", "protocol", "method", "settings", "levels", "seed")
    models = {tuple(row[name] for name in names) for row in rows}
    assert len(models) == len({row["stage_key"] for row in rows})  # each can be told apart


def test_only_models_of_one_split_are_in_one_table(settings: Settings) -> None:
    dump(settings, "tools")
    models = [Model("EASE", 0.09, settings={"lam": lam}) for lam in (200.0, 50.0)]
    results(settings, "tools", models)
    rows = report.leaderboard(settings)
    assert {row["settings"] for row in rows} == {"lam=200.0", "lam=50.0"}
    other = [{**row, "split_key": "f" * 64, "method": "SLIM"} for row in rows]
    tables = boards([*rows, *other])
    assert [{row["method"] for row in table} for table in tables.values()] == [{"EASE"}, {"SLIM"}]
    assert "ffffffff" in list(tables)[1]
    assert "random" in next(iter(tables))
    out = io.StringIO()
    report.print_leaderboard(rows, out)
    assert "EASE (lam=50.0)" in out.getvalue()


def test_other_settings_of_a_method_are_another_line(settings: Settings) -> None:
    dump(settings, "tools")
    models = [Model("EASE", 0.09, settings={"lam": lam}) for lam in (200.0, 50.0)]
    results(settings, "tools", models)
    page = page_of(settings)
    names = {row["method"] for row in page.table("method", "levels", "recall@10")}
    assert names == {"EASE (lam=200.0)", "EASE (lam=50.0)"}
    assert "--set EASE.lam=50.0" in page.text


def test_a_model_whose_folder_is_gone_is_not_said_to_lack_every_setting(
    settings: Settings,
) -> None:
    results(settings, "x", [Model("BPR", 0.05, seed=0), Model("BPR", 0.06, seed=1, folder=False)])
    labels = {found.label: found.seeds for found in group(load_runs(settings, "x"))}
    assert labels == {"BPR": [0], "BPR (settings unknown)": [1]}


def test_twins_without_a_known_difference_are_told_apart(settings: Settings) -> None:
    results(settings, "x", [Model("BPR", r, seed=0, folder=False) for r in (0.05, 0.06)])
    labels = {g.label: g.stat("recall", 20, 64) for g in group(load_runs(settings, "x"))}
    assert set(labels) == {"BPR (model 00000000)", "BPR (model 00000001)"}
    assert labels["BPR (model 00000001)"].mean == 0.06  # neither takes the place of the other


def test_a_model_evaluated_at_other_widths_is_one_row(settings: Settings) -> None:
    """Once as trained, once at 24 and rotated: one model, one line, one group, every width."""
    dump(settings, "tools")
    train = "c" * 64
    again = Model("BPR", 0.05, seed=0, epoch=5, train=train, widths=(24, 64))
    models = [
        Model("EASE", 0.04),
        Model("BPR", 0.05, seed=0, epoch=5, train=train),
        again,
        replace(again, method="BPR rotated"),
    ]
    results(settings, "tools", models)
    rows = report.leaderboard(settings)
    (board,) = boards(rows).values()
    assert [line.label for line in lines(board)] == ["BPR", "EASE"]
    groups = group(load_runs(settings, "tools"))
    assert {g.name: g.widths for g in groups} == {
        "BPR": [4, 8, 16, 24, 32, 64], "EASE": [], "BPR rotated": [24, 64]
    }  # fmt: skip
    (run,) = groups[0].runs
    assert [key[:8] for key in run.evaluations] == ["00000002", "00000001"]
    of_it = {row["width"]: row["stage_key"] for row in rows if row["method"] == "BPR"}
    assert {width: key[:8] for width, key in of_it.items()} == {
        4: "00000001", 8: "00000001", 16: "00000001", 32: "00000001",
        24: "00000002", 64: "00000002",
    }  # fmt: skip
    page = page_of(settings)
    names = [row["method"] for row in page.table("method", "levels", "recall@10")]
    assert names == ["BPR", "EASE"]
    assert "2, protocol clean" in page.text


def test_seeds_are_pooled_only_where_all_else_is_equal(settings: Settings) -> None:
    dump(settings, "tools")
    plain = {"lam": 1.0, "epochs": 300}
    models = [Model("BPR", 0.05, seed=seed, epoch=5, settings=plain) for seed in (0, 1, 2, 3, 4)]
    results(settings, "tools", models)
    changed = {
        1: {"epochs_asked": 10},
        2: {"warm": "f" * 64},
        3: {"code": 2},
        4: {"dtype": "float64"},
    }
    for number in range(5):
        folder = settings.storage.model_dir("tools", f"{number:08x}" + "d" * 56)
        card = json.loads((folder / "model.json").read_text()) | {"code": 1, "dtype": "float32"}
        (folder / "model.json").write_text(json.dumps(card | changed.get(number, {})))
    groups = group(load_runs(settings, "tools"))
    assert sorted(g.seeds for g in groups) == [[0], [1], [2], [3], [4]]
    assert len({g.label for g in groups}) == 5
    said = {g.seeds[0]: g.variant for g in groups}
    assert "epochs=10" in said[1]
    assert "warm=ffffffff" in said[2]
    assert "code=2" in said[3]
    assert "dtype=float64" in said[4]


def test_terminal_table_shows_the_same_numbers(tools: Settings) -> None:
    out = io.StringIO()
    report.print_leaderboard(report.leaderboard(tools), out)
    clean, paper = out.getvalue().split("protocol paper")
    line = next(line for line in clean.splitlines() if LEVELS in line)
    mean, sd = statistics.fmean((0.071, 0.072, 0.0745)), statistics.stdev((0.071, 0.072, 0.0745))
    assert f"{mean:.4f} ±{sd:.4f}".replace("±0.", "±.") in line
    assert "0.0956*" in clean
    assert "0.0727*" in paper
    report.print_leaderboard([], out)
    assert "no model" in out.getvalue()


def test_the_same_warehouse_gives_the_same_page(tools: Settings, html: str) -> None:
    again = report.build(tools, None, tools.warehouse / "again.html").read_text()
    strip = re.compile(r"<p>\d{4}-.*?</p>")
    assert strip.sub("", again) == strip.sub("", html)


def test_a_page_is_drawn_again_only_where_something_changed(settings: Settings) -> None:
    dump(settings, "tools", TOOLS)
    results(settings, "tools", MODELS[:2])
    page = report.build(settings)
    first, made_of = page.stat().st_mtime_ns, report.made_of(page)
    assert made_of is not None
    assert report.build(settings).stat().st_mtime_ns == first
    gate(settings, "tools", "pass", "reviews", None)
    assert report.build(settings).stat().st_mtime_ns != first
    assert report.made_of(page) != made_of
    page.write_text("somebody else's")
    assert report.made_of(page) is None
    assert "EASE" in report.build(settings).read_text()


def test_figures_can_be_kept_as_files(tools: Settings, tmp_path: Path) -> None:
    paths = report.plots(tools, None, tmp_path)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    names = {path.relative_to(tmp_path / "tools").as_posix() for path in paths}
    clean = {f"clean/{n}.png" for n in ("recall_by_width", "level_sweep", "learning_curve", "loss")}
    assert clean | {"user_degrees.png", "rows_over_time.png", "quarantine.png"} <= names
    assert "paper/recall_by_width.png" in names
    assert "paper/level_sweep.png" not in names  # one level set only
