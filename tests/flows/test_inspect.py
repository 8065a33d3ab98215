"""What would be read of a dump is shown, and nothing is written."""

from __future__ import annotations

import json
import shlex
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest

from flows.cli.inspect import run as inspect
from jobs import ingest
from jobs.ingest import IngestRequest
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.formats.options import ReadOptions
from tests.flows.parsed import parsed, run_config

ROWS = [f"u{n % 9},i{n % 7},{1 + n % 10},{1_300_000_000_000 + n}" for n in range(40)]


def asked(*words: str) -> Namespace:
    return parsed("inspect", *words)


@pytest.fixture
def dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 rows under names of its own, two of them bad; the working directory is its folder."""
    monkeypatch.chdir(tmp_path)
    rows = [*ROWS]
    rows[3], rows[5] = ",i1,3,1300000000000", "u1,,3,1300000000000"
    path = tmp_path / "my dump.csv"
    path.write_text("\n".join(["customer,product,stars,when", *rows]) + "\n")
    return path


def test_mapping_records_and_counts(dump: Path) -> None:
    (found,) = inspect(asked(str(dump), "--json"))
    assert json.loads(json.dumps(found)) == found
    assert (found["mapping"]["user"], found["mapping"]["time_unit"]) == ("customer", "ms")
    assert "user=customer" in found["words"]
    assert found["sample"] == {"records": 40, "taken": 38, "quarantined": 2}
    assert found["rules"] == {"no_user": 1, "no_item": 1}
    assert found["first_bad"]["no_user"]["record"] == ",i1,3,1300000000000"
    assert len(found["records"]) == 10
    first = found["records"][0]
    assert first == {
        "record_no": 1, "user": "u0", "item": "i0", "rating": 1.0,
        "time": "2011-03-13T07:06:40+00:00",
    }  # fmt: skip
    assert any("1 to 10" in note for note in found["notes"])


def test_the_options_ask_for_the_same(dump: Path) -> None:
    (found,) = inspect(asked(str(dump), "--json"))
    (again,) = inspect(asked(str(dump), "--json", *shlex.split(found["options"])))
    assert again["mapping"] == found["mapping"]
    assert again["records"] == found["records"]


def test_people_read_it_and_paste_what_comes_next(
    dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(dump.parent.rglob("*"))
    assert inspect(asked(dump.name, "--rows", "20")) is None
    said = capsys.readouterr().out
    assert "2 quarantined" in said
    assert "no_user" in said
    assert "my dump.csv record 4" in said
    assert "2011-03-13T07:06:40+00:00" in said
    assert sorted(dump.parent.rglob("*")) == before
    (line,) = [line for line in said.splitlines() if line.startswith("next")]
    words = shlex.split(line.removeprefix("next"))
    assert run_config(*words[1:]).source == (dump.name,)


def test_options_are_followed(dump: Path) -> None:
    swapped = ["--columns", "user=product,item=customer", "--rating-range", "1:5"]
    (found,) = inspect(asked(str(dump), "--json", *swapped))
    assert found["records"][0]["user"] == "i0"
    assert found["records"][0]["rating"] is None


def test_ratings_out_of_range_and_missing_ones_are_counted(dump: Path) -> None:
    dump.write_text("user_id,item_id,rating\n" + "a,b,3\na,c,\na,d,9\n" * 5)
    (found,) = inspect(asked(str(dump), "--json", "--rating-range", "1:5"))
    assert found["rules"] == {"no_rating": 5, "rating_out_of_range": 5}


def test_each_file_of_an_archive(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile("two.zip", "w") as archive:
        for name in ("a.csv", "b.csv"):
            archive.write(dump, name)
    found = inspect(asked("two.zip", "--json"))
    assert [one["path"] for one in found] == ["two.zip/a.csv", "two.zip/b.csv"]
    inspect(asked("two.zip"))
    assert "run --source two.zip " in capsys.readouterr().out


def test_an_empty_file(dump: Path) -> None:
    dump.write_text("")
    (found,) = inspect(asked(str(dump), "--json"))
    assert (found["records"], found["sample"]["records"]) == ([], 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["none.csv"], "none.csv"),
        (["my dump.csv", "--rows", "0"], "--rows"),
        (["my dump.csv", "--columns", "user=custmer,item=product"], "customer"),
        (["my dump.csv", "--dataset", "d"], "warehouse"),
    ],
)
@pytest.mark.usefixtures("dump")
def test_what_cannot_be_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        inspect(asked(*words))


def test_a_later_dump_is_read_as_the_first_was(
    dump: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRL4REC_WAREHOUSE", str(settings.warehouse))
    ingest.run(IngestRequest("d", (dump,), ReadOptions.parse(rating_range="1:5")), settings)
    later = dump.with_name("later.csv")
    later.write_text("customer,product,stars,when\n" + "\n".join(ROWS) + "\n")
    (found,) = inspect(asked(str(later), "--json"))
    assert found["rules"] == {}
    (found,) = inspect(asked(str(later), "--dataset", "d", "--json"))
    assert found["rules"] == {"rating_out_of_range": 20}
