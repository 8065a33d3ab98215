"""DuckDB and Spark give the same tables: digests of rows, whatever the input, k and strategy.

Many inputs are sources of one ingest: each is read by the mapping that it would have alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hostile_dumps import hostile_dumps

from flows import gates
from jobs import ingest, kcore, sequences, split
from jobs.ingest import IngestRequest
from mrl4rec.core.choices import STRATEGIES
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.synthetic.dump import write
from mrl4rec.data.synthetic.spec import Planted
from mrl4rec.formats import FORMATS, ReadOptions, detect, expand
from mrl4rec.tables import versions
from mrl4rec.transforms import spark_engine
from tests.conftest import ROOT, SPARK
from tests.mrl4rec.formats.cases import CASES
from tests.mrl4rec.formats.odd_values import T, csv_lines, json_lines, literal_lines

AS_OF = datetime(2020, 1, 1, tzinfo=UTC)
SINCE = datetime(2012, 1, 1, tzinfo=UTC)
Options = Mapping[str, str]
TABLES = {
    "ingest": ("reviews", "quarantine", "sources"),
    "kcore": ("users", "items", "interactions"),
    "sequences": ("sequences",),
    "split": ("splits",),
}


@dataclass
class Both:
    """A warehouse of each engine, and how much was compared."""

    duckdb: Settings
    spark: Settings
    compared: dict[str, int] = field(default_factory=lambda: {"inputs": 0, "digests": 0})

    def same_sequences(self, strategies: Sequence[str], **options: Any) -> None:
        """The same of the sequences of the newest core, and of their splits."""
        made: dict[Path, Commit] = {}

        def order(settings: Settings) -> Commit:
            taken, core = newest(settings, "sources"), newest(settings, "interactions")
            made[settings.warehouse] = sequences.run("d", taken, core, settings=settings, **options)
            return made[settings.warehouse]

        def divide(settings: Settings, strategy: str) -> Commit:
            of = newest(settings, "interactions"), made[settings.warehouse]
            more: dict[str, Any] = {"since": SINCE} if strategy == "since" else {}
            return split.run("d", of[0], strategy=strategy, split_seed=3, sequences=of[1],
                             settings=settings, **more)  # fmt: skip

        self.same(order)
        for strategy in strategies:
            self.same(partial(divide, strategy=strategy))

    def same(self, run: Callable[[Settings], Commit]) -> Commit:
        """Run a stage on both: their commits and tables must be the same."""
        one, other = run(self.duckdb), run(self.spark)
        assert not one.found
        assert not other.found
        assert (one.key, one.summary) == (other.key, other.summary)
        events = ("sequence_splits",) if one.summary.get("of") == "sequences" else ()
        for table in (*TABLES[one.stage], *events):
            assert rows_digest(self.duckdb, table, one) == rows_digest(self.spark, table, other), (
                table
            )
            self.compared["digests"] += 1
        return one


def rows_digest(settings: Settings, table: str, commit: Commit) -> tuple[list[str], int, str]:
    """Columns with their types, how many rows, and one hash of all, in whatever order they lie."""
    delta = DeltaTable(settings.storage.table_uri("d", table), commit.table_version(table))
    rows = delta.to_pyarrow_table()
    frame = rows.to_pandas()
    for column in frame.select_dtypes("float"):  # -0.0 is 0.0, a null is no number
        frame[column] = frame[column] + 0.0
    hashes = np.sort(pd.util.hash_pandas_object(frame, index=False).to_numpy())
    columns = [f"{f.name} {f.type}" for f in rows.schema]
    return columns, len(frame), hashlib.sha256(hashes.tobytes()).hexdigest()


@pytest.fixture
def both(tmp_path: Path, spark: None, record_property: Any) -> Iterator[Both]:
    place = Both(
        Settings(warehouse=tmp_path / "duckdb", data_engine="duckdb"),
        Settings(warehouse=tmp_path / "spark", **SPARK),
    )
    began = time.monotonic()
    yield place
    place.compared["seconds"] = round(time.monotonic() - began)
    for name, value in place.compared.items():
        record_property(name, value)
    print("\n", place.compared)


@pytest.fixture
def each_alone(monkeypatch: pytest.MonkeyPatch) -> dict[str, Options]:
    """Options of a file, by its name; each file is read as a data set's first."""
    options: dict[str, Options] = {}

    def alone(source: Any, *_: Any) -> Any:
        return detect(source, ReadOptions.parse(**options.get(source.path.name, {})), None)

    monkeypatch.setattr(ingest, "detect", alone)
    return options


def take_in(files: Sequence[Path]) -> Callable[[Settings], Commit]:
    return lambda settings: ingest.run(IngestRequest("d", tuple(files), as_of=AS_OF), settings)


# ---------------------------------------------------------------------- inputs

PAIRS = [(f"A{u:013d}", f"B{(u * 5 + k * 3) % 11:09d}", 1 + (u * k) % 5, T + 86_400 * k)
         for u in range(9) for k in range(8)]  # fmt: skip
PAIRS += PAIRS[3:9] + [(u, i, 6 - r, t) for u, i, r, t in PAIRS[20:30]]
BAD = [("", "B000000001", 3, T), ("A1", "", 3, T), ("A1", "B1", 9, T), ("A1", "B1", 3, -5),
       ("A1", "B1", 3, T * 1000), ("A1", "B1", "x", T), ("A1", "B1", 3, "soon"),
       ("A\t1", "B1", 3, T),
       ("A1", "B1", None, T), ("A1", "B1", 3, 2_000_000_000), ("Å ", "A\u030a", 3, T)]  # fmt: skip


def spelled(name: str) -> bytes:
    """A file of a known format with good rows, repeated ones and bad ones."""
    form = FORMATS[name]
    scale = {"ms": 1000}.get(form.time_unit or "s", 1)
    records = [(u, i, r, t * scale if isinstance(t, int) else t) for u, i, r, t in PAIRS + BAD]
    if form.syntax == "lists":
        return (
            b"".join(b"%d %d %d\n" % (n, n * 7 % 10, n * 3 % 10) for n in range(20)) + b"x 1\n2\n"
        )
    if form.syntax == "sessions":
        lists = b"".join(b"[%d, %d, %d]\n" % (n % 4, n % 3, n % 4) for n in range(20))
        return lists + b'["a", null, true]\n[1, [2], 3]\n[]\n[1\n'
    if form.syntax in ("json", "python"):
        more = {"verified": True} if "2018" in name else {}
        names = (form.user, form.item, form.rating, form.time)
        objects = [dict(zip(names, record, strict=True)) | more for record in records]
        lines = [repr(o) if form.syntax == "python" else json.dumps(o) for o in objects]
        lines = [*lines, lines[0][:-20], lines[1], "", "{"]
        text = ",\n".join(lines) if form.container == "array" else "\n".join(lines)
        return (f"[{text}]" if form.container == "array" else text).encode()
    order = [1, 0, 2, 3] if name.endswith("item-user") else [0, 1, 2, 3]
    between = form.separator or ","
    rows = [[str("" if r[n] is None else r[n]) for n in order] for r in records]
    heads = {"recbole-inter": ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]}
    roles = [form.user, form.item, str(form.rating), str(form.time)]
    header = [] if form.columns else [heads.get(name, roles)]
    lines = [between.join(row).replace("\t", " ") if between != "\t" else between.join(row)
             for row in [*header, *rows, *header]]  # fmt: skip
    return ("\n".join([*lines, "a" + between + "b", ""])).encode()


def known_files(folder: Path, options: dict[str, Options]) -> list[Path]:
    files = []
    for name in FORMATS:
        files.append(folder / f"known-{name}")
        files[-1].write_bytes(spelled(name))
        options[files[-1].name] = {"format": name}
    return files


def case_files(folder: Path, options: dict[str, Options]) -> list[Path]:
    files = []
    for name, case in CASES.items():
        if case.refused is None:
            files.append(folder / f"case-{name}")
            files[-1].write_bytes(case.content)
            options[files[-1].name] = case.options
    return files


SHARED: dict[str, Options] = {
    "semicolons-latin1.csv": {"encoding": "latin-1"},
    "events.csv": {"columns": "user=visitorid,item=itemid,time=timestamp"},
    "plays.tsv": {"columns": "user=1,item=2,rating=4"},
    "nested.json": {"columns": "user=user.id,item=item.id,rating=score,time=ts"},
    "triples.txt": {"columns": "user=1,item=2,rating=3", "separator": " "},
}


def shared_files(folder: Path, options: dict[str, Options]) -> list[Path]:
    """The files of the cases beside the real data that are not refused; none where they are not."""
    maker = ROOT.parent / "shared" / "cases" / "make.py"
    if not maker.is_file():
        return []
    spec = importlib.util.spec_from_file_location("make_cases", maker)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(folder / "shared")
    files = []
    for path in sorted((folder / "shared").iterdir()):
        options[path.name] = SHARED.get(path.name, {})
        try:
            check = ReadOptions.parse(**options[path.name])
            ingest.check([path], check, Settings(warehouse=folder / "none"), "d")
        except Mrl4recError:
            continue
        files.append(path)
    return files


def odd_files(folder: Path, options: dict[str, Options]) -> list[Path]:
    """One odd value in each record."""
    places = {"columns": "user=1,item=2,rating=3,time=4", "time_unit": "s", "rating_range": "0.5:5"}
    contents: dict[str, tuple[list[bytes], Options]] = {
        "json": (json_lines(), {}), "python": (literal_lines(), {}),
        "iso": (json_lines(time='"2014-05-21T00:00:00Z"'), {"columns": "user=reviewerID,item=asin,"
                "time=unixReviewTime", "time_format": "iso"}),
        "comma": (csv_lines(","), places | {"separator": ","}),
        "tab": (csv_lines("\t"), places | {"separator": "\\t"}),
    }  # fmt: skip
    files = []
    for name, (lines, chosen) in contents.items():
        files.append(folder / f"odd-{name}")
        files[-1].write_bytes(b"\n".join(line for line in lines if b"\0" not in line))
        options[files[-1].name] = chosen
    files.append(folder / "odd.parquet")
    users, items, stars, at = zip(*[r for r in PAIRS + BAD if isinstance(r[3], int)], strict=True)
    rated = [float(r) if isinstance(r, int) else None for r in stars]
    pq.write_table(pa.table({"user": users, "item": items, "rating": rated, "time": at}), files[-1])
    options["odd.parquet"] = {"rating_range": "1:5"}
    return files


# ---------------------------------------------------------------------- tests


def test_every_kind_of_input_and_k(
    both: Both, tmp_path: Path, each_alone: dict[str, Options], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_engine, "PART_BYTES", 1 << 20)  # large files are cut into parts
    hostile = [path for path, _ in hostile_dumps(tmp_path / "hostile").values()]
    files = [*known_files(tmp_path, each_alone), *case_files(tmp_path, each_alone),
             *shared_files(tmp_path, each_alone), *odd_files(tmp_path, each_alone),
             *hostile]  # fmt: skip
    taken = both.same(take_in(files))
    both.compared["inputs"] += len(files)
    assert len(taken.summary["rules"]) > 12
    assert min(taken.summary["total"].values()) > 0

    cores = {}
    for k in (0, 1, 2):
        cores[k] = both.same(lambda s, k=k: kcore.run("d", newest(s, "sources"), k=k, settings=s))
    assert cores[0].summary["users"] == cores[1].summary["users"] > cores[2].summary["users"] > 0


def newest(settings: Settings, marker: str) -> Commit:
    commit = versions.newest_good(settings, "d", marker)
    assert commit is not None
    return commit


def planted(folder: Path, reviews: int) -> list[Path]:
    """A planted dump with duplicates and bad rows in two parts that share a third of its lines."""
    spec = Planted(users=reviews // 15, items=reviews // 40, reviews=reviews,
                   repeats=reviews // 50, duplicates=reviews // 50, bad=reviews // 50)  # fmt: skip
    write(spec, folder / "planted.json")
    lines = (folder / "planted.json").read_bytes().splitlines(keepends=True)
    parts = [folder / "early.json", folder / "late.json"]
    for path, part in zip(
        parts, (lines[: len(lines) * 2 // 3], lines[len(lines) // 3 :]), strict=True
    ):
        path.write_bytes(b"".join(part))
    return parts


def check_planted(both: Both, folder: Path, reviews: int, strategies: Sequence[str]) -> None:
    """Two dumps one after the other, their 5-core, and its splits."""
    early, late = planted(folder, reviews)
    both.same(take_in([early]))
    both.same(take_in([late]))
    both.compared["inputs"] += 2
    both.same(lambda settings: kcore.run("d", newest(settings, "sources"), k=5, settings=settings))
    for strategy in strategies:
        more: dict[str, Any] = {"since": SINCE} if strategy == "since" else {}

        def divide(settings: Settings, strategy: str = strategy, more: Any = more) -> Commit:
            core = newest(settings, "interactions")
            return split.run("d", core, strategy=strategy, split_seed=3, settings=settings, **more)

        both.same(divide)


def test_a_planted_dump_in_two_parts_and_every_strategy(both: Both, tmp_path: Path) -> None:
    pairs = [s for s in STRATEGIES if s not in ("predefined", "by_user")]
    check_planted(both, tmp_path, 20_000, pairs)
    both.same_sequences(["last_out", "since"], max_length=9)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_planted_dump_of_a_million(both: Both, tmp_path: Path) -> None:
    check_planted(both, tmp_path, 1_000_000, ["random", "global_time"])


def test_the_samples_of_real_dumps(both: Both, real_data: Path) -> None:
    files = expand([str(real_data / "samples" / "*")])
    both.same(take_in(files))
    both.compared["inputs"] += len(files)


def test_what_one_engine_made_the_other_finds_and_goes_on_from(both: Both, tmp_path: Path) -> None:
    """Dumps taken in by both engines in turn, in any order, give the tables that one gives."""
    parts = planted(tmp_path, 3_000)
    both.spark = both.spark.model_copy(update={"warehouse": both.duckdb.warehouse})
    first = take_in(parts[:1])(both.duckdb)
    assert take_in(parts[:1])(both.spark).found
    second = take_in(parts[1:])(both.spark)
    assert take_in(parts[1:])(both.duckdb).found
    alone = both.duckdb.model_copy(update={"warehouse": tmp_path / "alone"})
    take_in(parts[::-1][:1])(alone)
    last = take_in(parts[:1])(alone)
    assert second.summary["total"]["users"] == last.summary["total"]["users"]
    assert first.key == last.key
    for table in ("reviews", "quarantine"):
        assert rows_digest(both.spark, table, second) == rows_digest(alone, table, last)
        both.compared["digests"] += 1
    both.compared["inputs"] += 2


def test_sessions_keep_their_repeats(both: Both, tmp_path: Path) -> None:
    """Beside a dump with times, and where the same lists come again in another file."""
    lists = "[3, 1, 3]\n[1, 1]\n[2]\n"
    (tmp_path / "one.jsonl").write_text(lists)
    (tmp_path / "two.jsonl").write_text(lists + '[true, "x", "x"]\n')
    (tmp_path / "dump.csv").write_text("user,item\na,1\na,1\nb,3\n")
    both.same(take_in([tmp_path / "one.jsonl"]))
    taken = both.same(take_in([tmp_path / "two.jsonl", tmp_path / "dump.csv"]))
    counted = [tuple(source[name] for name in ingest.COUNTS) for source in taken.summary["sources"]]
    assert counted == [(9, 8, 0, 1), (3, 2, 1, 0)]
    core = both.same(lambda s: kcore.run("d", newest(s, "sources"), k=0, settings=s))
    assert core.summary["interactions"] == 4 + 4 + 1 + 2
    for settings in (both.duckdb, both.spark):
        assert gates.check_reviews("d", newest(settings, "sources"), settings).passed


def test_lists_in_their_order(both: Both, tmp_path: Path) -> None:
    lines = [[(n * m) % 7 for m in range(1 + n % 6)] for n in range(60)]
    (tmp_path / "lists.jsonl").write_text("".join(f"{line}\n" for line in lines))
    both.same(take_in([tmp_path / "lists.jsonl"]))
    both.same(lambda s: kcore.run("d", newest(s, "sources"), k=0, settings=s))
    both.same_sequences(["by_user"])


def test_the_authors_lists_and_their_own_split(both: Both, tmp_path: Path) -> None:
    for fold, numbers in (("train", range(50)), ("test", range(50, 60))):
        lines = [f"{u} " + " ".join(str((u * 7 + n) % 60) for n in numbers if (u + n) % 3)
                 for u in range(40)]  # fmt: skip
        (tmp_path / f"{fold}.txt").write_text("\n".join(lines) + "\n")
    both.same(take_in(expand([tmp_path])))
    both.same(lambda settings: kcore.run("d", newest(settings, "sources"), k=0, settings=settings))
    both.same(lambda settings: split.run(
        "d", newest(settings, "interactions"), strategy="predefined", split_files=tmp_path,
        settings=settings,
    ))  # fmt: skip
    both.compared["inputs"] += 2
