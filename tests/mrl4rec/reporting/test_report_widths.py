"""The table of widths, and the command of a page, where vectors were rotated before they were cut.

The values of the small warehouse rise with the width, and Recall@20 at 64 is the model's own.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from mrl4rec import reporting as report
from mrl4rec.core.settings import Settings
from mrl4rec.models import METHODS
from mrl4rec.reporting.command import commands
from mrl4rec.reporting.runs import Group, Run, at_full_width, load_runs
from mrl4rec.reporting.warehouse import contexts
from tests.mrl4rec.reporting.report_warehouse import Model, dump, results, value

MODELS = [
    Model("EASE", 0.0956),
    Model("BPR-D", 0.066, seed=0, epoch=5),
    Model("BPR-D", 0.068, seed=1, epoch=5),
    Model("BPR-D rotated", 0.067, seed=0, epoch=5),
]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(warehouse=tmp_path_factory.mktemp("widths"))
    dump(settings, "tools")
    results(settings, "tools", MODELS)
    return settings


def test_every_width_stands_with_the_bytes_of_a_vector(tools: Settings) -> None:
    lines = report.widths_markdown(report.leaderboard(tools)).splitlines()
    head, *rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert head == ["method", "levels", "4 (16 B)", "8 (32 B)", "16 (64 B)", "32 (128 B)",
                    "64 (256 B)", "no prefixes"]  # fmt: skip
    table = {row[0]: row[2:] for row in rows}
    assert table["EASE"] == ["–"] * 5 + ["0.0956"]
    assert table["BPR-D"][4:] == ["0.0670", "–"]  # the mean of two seeds
    assert table["BPR-D rotated"][0] == f"{value(0.067, 'recall', 20, 4):.4f}"


def test_the_terminal_shows_the_same(tools: Settings) -> None:
    out = io.StringIO()
    report.print_widths(report.leaderboard(tools), file=out)
    shown = out.getvalue()
    assert "tools · 2-core · split random · protocol clean · recall@20 by width" in shown
    assert "256 B" in shown
    assert "BPR-D rotated" in shown


def test_models_without_prefixes_have_no_such_table(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path)
    dump(settings, "tools")
    results(settings, "tools", MODELS[:1])
    assert report.widths_markdown(report.leaderboard(settings)) == ""


def test_the_command_that_makes_it_again_asks_for_the_rotation(tools: Settings) -> None:
    runs = load_runs(tools, "tools")
    (line,) = commands(tools, contexts(tools, "tools", runs)[0])
    assert "--methods EASE,BPR-D " in line
    assert line.split().count("--rotate") == 1


def test_one_command_makes_one_setting_a_method_and_one_number_of_epochs(
    settings: Settings,
) -> None:
    dump(settings, "tools")
    bpr = METHODS["BPR"].as_dict()
    models = [
        Model("EASE", 0.09, settings={"lam": 50.0}),
        Model("EASE", 0.08, settings={"lam": 60.0}),
        Model("BPR", 0.05, seed=0, epoch=5, settings=bpr),
        Model("BPR", 0.05, seed=0, epoch=5, settings=bpr),
    ]
    results(settings, "tools", models)
    for number, asked in ((2, bpr["epochs"]), (3, 7)):
        path = settings.storage.model_dir("tools", f"{number:08x}" + "d" * 56) / "model.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"epochs_asked": asked}))
    (context,) = contexts(settings, "tools", load_runs(settings, "tools"))
    first, second = commands(settings, context, relative=True)
    assert "--methods EASE,BPR " in first
    assert "--set EASE.lam=50.0" in first
    assert "--epochs" not in first
    assert "--methods EASE,BPR " in second
    assert "--set EASE.lam=60.0" in second
    assert "--epochs 7" in second


def test_rotated_vectors_stand_by_width_alone() -> None:
    """Whole, they score as the model they are made from; a cut of another width does not."""

    def made(method: str, model: str, *widths: int) -> Group:
        values = {("recall", 20, width): 0.1 for width in widths}
        return Group(method, None, "clean", "", [Run(
            f"{method} {widths}", "tools", method, None, 0, "clean", 5, None, values, 0, model
        )])  # fmt: skip

    plain, rotated = made("BPR-D", "a", 4, 64), made("BPR-D rotated", "a", 4, 64)
    alone, narrow = made("iALS rotated", "b", 4, 64), made("BPR-D rotated", "a", 4, 16)
    groups = [plain, rotated, alone, narrow]
    assert at_full_width(groups) == [plain, alone, narrow]


def test_the_catalogues_own_file_is_brought_by_the_name_alone(settings: Settings) -> None:
    dump(settings, "data")  # its source is /data/dump.json.gz
    results(settings, "data", MODELS[:1])
    (context,) = contexts(settings, "data", load_runs(settings, "data"))

    def asked(downloads: str) -> str:
        (line,) = commands(settings.model_copy(update={"downloads": Path(downloads)}), context)
        return line

    assert "--source /data/dump.json.gz" in asked("/elsewhere")
    assert "--source" not in asked("/")
