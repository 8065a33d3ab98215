"""The sequences stage: events in order, against plain Python, and what the stage keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from by_hand import Row, ids, ingest, table
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from in_order import Event, Options, built, digest, ordered
from test_splits import ODD

from jobs import ingest as real_ingest
from jobs import kcore, sequences
from jobs.ingest import IngestRequest
from mrl4rec.core import stage
from mrl4rec.core.choices import TIES
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.transforms.engine import Engine

MANY = how(deadline=None, max_examples=60,
           suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
OPTIONS = [
    Options(),
    Options(repeats=False),
    Options(max_length=3),
    Options(min_rating=3, repeats=False, max_length=2),
    Options(ties="file"),
]


def some_events(n: int = 400, seed: int = 0, timed: bool = True) -> list[Event]:
    """Events of odd ids at few times, so that many are equal, with repeats."""
    rng = np.random.default_rng(seed)
    users, items, ratings, times = (rng.integers(0, top, n) for top in (12, len(ODD), 5, 9))
    drawn = zip(users, items, ratings, times, strict=True)
    rated = {(ODD[u], ODD[i], int(t)): 1.0 + int(r) for u, i, r, t in drawn}
    rows: list[Event] = [(u, i, r, t if timed else None) for (u, i, t), r in rated.items()]
    return [rows[n] for n in rng.permutation(len(rows))]


events = st.builds(
    lambda rows, timed: [(u, i, float(r), t if timed else None) for (u, i, t), r in rows.items()],
    st.dictionaries(
        st.tuples(st.sampled_from(ODD[:4]), st.sampled_from(ODD[:5]), st.integers(0, 3)),
        st.integers(1, 5), max_size=25,
    ),
    st.booleans(),
)  # fmt: skip


@MANY
@given(
    events,
    st.builds(
        Options,
        st.sampled_from([None, 3.0]),
        st.booleans(),
        st.sampled_from([None, 2, 3, 100]),
        st.sampled_from(TIES),
    ),
)
def test_events_stand_as_defined(engine: Engine, rows: list[Event], options: Options) -> None:
    assert built(engine, rows, options) == ordered(rows, options)


@pytest.mark.parametrize("timed", [True, False])
def test_engines_agree(engines: tuple[Engine, Engine], timed: bool) -> None:
    """On ids that are hard to get right, against the definition."""
    rows = some_events(timed=timed)
    for options in OPTIONS:
        wanted = ordered(rows, options)
        for engine in engines:
            assert built(engine, rows, options) == wanted, (engine.name, options)


def test_numbers_and_the_order_of_a_dump_with_times_do_not_matter(engine: Engine) -> None:
    rows = some_events()
    wanted = built(engine, rows, Options())
    assert built(engine, rows[::-1], Options(), lambda ids: ids[::-1]) == wanted


def test_by_hand(engine: Engine) -> None:
    rows: list[Event] = [
        ("u", "late", 5, 9), ("u", "first", 1, 1), ("u", "again", 4, 2), ("u", "again", 4, 5),
        ("u", "mid", 2, 3), ("v", "first", 3, 7),
    ]  # fmt: skip
    for options, wanted in (
        (Options(), ["first", "again", "mid", "again", "late"]),
        (Options(repeats=False), ["first", "again", "mid", "late"]),
        (Options(max_length=2), ["again", "late"]),
        (Options(repeats=False, max_length=2), ["mid", "late"]),
        (Options(min_rating=3), ["again", "again", "late"]),
    ):
        assert [item for item, _ in built(engine, rows, options)["u"]] == wanted


# ---------------------------------------------------------------------- the stage

ROWS: list[Row] = [("a", "x", 5, 3), ("a", "y", 2, 1), ("a", "x", 4, 2), ("b", "y", 4, 5),
                   ("b", "x", 4, 5), ("b", "z", 4, 4)]  # fmt: skip


def prepared(settings: Settings, rows: list[Row], **core: Any) -> tuple[Commit, Commit]:
    taken = ingest(settings, [rows])
    return taken, kcore.run("d", taken, k=0, settings=settings, **core)


def rows_of(settings: Settings, core: Commit, made: Commit) -> dict[str, list[str]]:
    """User → items, by external ids."""
    users, items = ids(settings, "users", core), ids(settings, "items", core)
    found: dict[str, list[str]] = {}
    order = [("sequence_id", "ascending"), ("position", "ascending")]
    for row in table(settings, "sequences", made).sort_by(order).to_pylist():
        found.setdefault(users[row["sequence_id"]], []).append(items[row["item_idx"]])
    return found


def test_the_stage_is_found_again_and_a_changed_option_is_another_key(settings: Settings) -> None:
    taken, core = prepared(settings, ROWS)
    made = sequences.run("d", taken, core, settings=settings)
    assert not made.found
    assert made.summary["events"] == 6
    assert (made.summary["repeats"], made.summary["max_length"]) == (True, None)
    tie = sorted("xy", key=lambda item: digest(f"0|tie|1|b|{item}"))
    assert rows_of(settings, core, made) == {"a": ["y", "x", "x"], "b": ["z", *tie]}
    again = sequences.run("d", taken, core, settings=settings)
    assert (again.found, again.key, again.version) == (True, made.key, made.version)
    others = [sequences.run("d", taken, core, settings=settings, **options)
              for options in ({"repeats": False}, {"max_length": 2}, {"ties": "file"})]  # fmt: skip
    assert len({made.key, *(other.key for other in others)}) == 4
    kept = [rows_of(settings, core, other)["a"] for other in others]
    assert kept == [["y", "x"], ["x", "x"], ["y", "x", "x"]]
    assert rows_of(settings, core, others[2])["b"] == ["z", "y", "x"]  # y stands before x in ROWS
    first = sequences.run("d", taken, core, settings=settings)
    assert first.found
    assert rows_of(settings, core, first)["a"] == ["y", "x", "x"]


def test_only_what_the_core_has_is_in_a_sequence(settings: Settings) -> None:
    taken = ingest(settings, [ROWS])
    rated = kcore.run("d", taken, k=0, min_rating=4, settings=settings)
    made = sequences.run("d", taken, rated, settings=settings)
    assert rows_of(settings, rated, made)["a"] == ["x", "x"]  # y had 2 stars
    core = kcore.run("d", taken, k=2, settings=settings)
    made = sequences.run("d", taken, core, settings=settings)
    assert "z" not in rows_of(settings, core, made)["b"]  # one user alone had it


def test_lists_stand_as_in_their_file(settings: Settings, tmp_path: Path) -> None:
    """Beside a dump with times; events of lists have no time, and no user of the dump's."""
    (tmp_path / "lists.jsonl").write_text("[9, 3, 9, 1]\n[1, 1]\n[2, 9]\n")
    (tmp_path / "dump.csv").write_text("user,item,timestamp\n5,9,1400000200\n5,1,1400000100\n")
    for name in ("lists.jsonl", "dump.csv"):
        taken = real_ingest.run(IngestRequest("d", (tmp_path / name,)), settings)
    core = kcore.run("d", taken, k=0, settings=settings)
    made = sequences.run("d", taken, core, settings=settings)
    found = rows_of(settings, core, made)
    assert found.pop("5") == ["1", "9"]
    by_line = {user.rpartition("-")[2]: items for user, items in found.items()}
    assert by_line == {"0": ["9", "3", "9", "1"], "1": ["1", "1"], "2": ["2", "9"]}
    rows = table(settings, "sequences", made).to_pylist()
    assert {row["user_id"] for row in rows} == {None, "5"}
    assert {row["reviewed_at"] is None for row in rows if row["user_id"] is None} == {True}


def test_reviews_without_times_are_refused(settings: Settings) -> None:
    taken, core = prepared(settings, [*ROWS, ("late", "x", 4, None)])
    with pytest.raises(UsageError, match="reviewed_at"):
        sequences.run("d", taken, core, settings=settings)
    assert not stage.history(settings.storage.table_uri("d", "sequences"), "sequences")


@pytest.mark.parametrize("length", [1, 0, -3])
def test_a_sequence_of_one_is_no_history_and_target(settings: Settings, length: int) -> None:
    commit = Commit("kcore", "k", "interactions", 0)
    with pytest.raises(UsageError, match="--max-length"):
        sequences.run("d", commit, commit, max_length=length, settings=settings)


def test_the_command_line_makes_those_of_the_newest_core(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    taken, core = prepared(settings, ROWS)
    sequences.main(["--dataset", "d", "--warehouse", str(settings.warehouse), "--no-repeats",
                    "--max-length", "2"])  # fmt: skip
    assert json.loads(capsys.readouterr().out)["events"] == 4
    made = sequences.run("d", taken, core, repeats=False, max_length=2, settings=settings)
    assert made.found
