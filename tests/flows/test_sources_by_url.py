"""Commands whose dumps are named by URL: copied once, known by address, refused before all else."""

from __future__ import annotations

import gzip
import json
import random
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from upath import UPath

import mrl4rec as mr
from flows import preflight
from flows.config.base import to_yaml
from flows.config.retrain import RetrainConfig
from flows.config.run import RunConfig, named_after
from flows.pipeline import Pipeline
from jobs import ingest
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import open_table, opened, read_table
from mrl4rec.formats import lines
from mrl4rec.formats.copies import shown
from tests.faults import scene
from tests.flows.dumps import answer, mrl4rec
from tests.flows.parsed import answer as answered
from tests.flows.parsed import run_config
from tests.object_store import BUCKET
from tests.web_site import Site, served

SECRET = "s3cr3t-9f8e7d"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server with a dump of 603 lines; copies lie in a folder of the test's own."""
    monkeypatch.setenv("MRL4REC_DOWNLOADS", str(tmp_path / "downloads"))
    with served() as state:
        state.body = gzip.compress(scene.dump(tmp_path / "reviews.json").read_bytes())
        state.url = state.url.replace("data.bin", "reviews.json.gz")
        yield state


@pytest.fixture
def folder(lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UPath:
    """An empty folder of an object store; copies lie in a folder of the test's own."""
    monkeypatch.setenv("MRL4REC_DOWNLOADS", str(tmp_path / "downloads"))
    place = opened(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    assert isinstance(place, UPath)
    return place


def paths(settings: Settings, dataset: str) -> list[str]:
    rows = read_table(open_table(settings.storage.table_uri(dataset, "sources"))).to_pylist()
    return [row["path"] for row in sorted(rows, key=lambda row: row["source_no"])]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (["https://host:8080/dumps/reviews.v2.csv.gz?id=7"], "reviews"),
        (["https://host/dumps/a.csv", "https://host/dumps/b.csv"], "dumps"),
        (["https://me:word@host/a.csv", "https://host/b.csv"], "host"),
        (["https://host/my%20reviews.csv"], "my-reviews"),
        (["http://[::1/reviews.csv"], "reviews"),
        (["s3://bucket/dumps/*.json.gz"], "dumps"),
        (["s3://bucket/*.json.gz"], "bucket"),
        (["s3://bucket/v1.2/"], "v1.2"),
        (["s3://bucket"], "bucket"),
        (["s3://bucket/a/reviews.csv"], "reviews"),
    ],
)
def test_data_are_named_after_the_last_part_of_an_address(source: list[str], name: str) -> None:
    assert named_after(source) == name


def test_what_is_kept_of_a_request_holds_no_secret() -> None:
    url = f"https://me:{SECRET}@host/a.csv?X-Amz-Signature={SECRET}"
    config = run_config("run", "--source", url)
    asked = RetrainConfig(dataset="d", dumps=(url,))
    for told in (to_yaml(config), str(config.given()), repr(config), str(asked.parameters())):
        assert SECRET not in told
    assert RunConfig(**config.given()).source == config.source


def test_a_run_copies_its_dump_once_and_knows_it_by_its_bytes(
    site: Site, settings: Settings, tmp_path: Path
) -> None:
    local = tmp_path / "local.json.gz"
    local.write_bytes(site.body)
    request = scene.request(local).model_copy(update={"source": (site.url,)})
    settings = settings.model_copy(update={"downloads": tmp_path / "downloads"})
    preflight.check(request, settings)
    requests = len(site.asked)
    made = Pipeline(request, settings).prepare("ingest").ingest
    assert len(site.asked) == requests + 1  # whether it has changed
    assert paths(settings, scene.DATASET) == [site.url]
    assert {record["path"] for record in made.summary["first_bad"].values()} == {site.url}
    assert scene.ingest(settings, [local]).version == made.version  # the same stage, found done


def test_the_job_takes_addresses_too(
    site: Site, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    place = settings.warehouse
    url = site.url.replace("http://", f"http://me:{SECRET}@") + f"?token={SECRET}"
    known = site.url.replace("http://", "http://me:***@") + "?token=***"
    words = ["--dataset", "d", "--warehouse", str(place), "--source", url]
    assert ingest.main(words) == 0
    said = capsys.readouterr().out
    assert json.loads(said)["sources"][0]["path"] == known
    assert paths(settings, "d") == [known]
    assert SECRET not in said
    kept = [path for path in Path(str(place)).rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in path.read_bytes() for path in kept)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_inspect_shows_the_beginning_of_a_large_file(
    site: Site, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    """The end of what was copied is in the middle of a record, and is not looked at."""
    monkeypatch.setattr(lines, "BLOCK_BYTES", 2 << 20)  # else the file would be of 60 MB
    draw = random.Random(0)
    rows = (f"{draw.randbytes(20).hex()},i{n % 97},{n % 5 + 1},1400000000" for n in range(200_000))
    text = "\n".join(["user,item,rating,time", *rows]).encode()
    (small,) = answered("inspect", site.url, "--json")
    site.body, site.etag = pack(text), '"two"'
    (large,) = answered("inspect", site.url, "--json", "--rows", "10")
    (whole,) = answered("inspect", site.url, "--json", "--rows", "100000")
    for found in (small, large, whole):
        assert found["path"] == found["source"] == site.url
        assert len(found["records"]) == 10
    assert large["records"] == whole["records"]
    assert large["sample"] == {"records": 10, "taken": 10, "quarantined": 0}
    assert large["bytes"] == whole["bytes"] == len(site.body)
    assert len(large["notes"]) == len(whole["notes"]) + 1  # how much was read


@pytest.mark.parametrize("command", ["run", "ingest", "inspect"])
def test_nothing_is_begun_where_there_is_no_such_file(
    site: Site, tmp_path: Path, command: str
) -> None:
    site.status = 404
    words = ["--source", site.url] if command != "inspect" else [site.url]
    words += ["--dataset", "d"] if command == "ingest" else []
    done = mrl4rec(command, *words, warehouse=tmp_path / "w")
    assert done.returncode == 2
    assert site.url in answer(done, 2)["error"]
    assert not (tmp_path / "w").exists()
    assert not (tmp_path / "downloads").exists()


def test_a_frame_is_read_from_an_address(site: Site, tmp_path: Path) -> None:
    local = tmp_path / "reviews.json"
    with pytest.warns(UserWarning, match="left out"):
        assert mr.Dataset.from_frame(site.url).reviews == mr.Dataset.from_frame(local).reviews


def test_dumps_land_in_a_folder_of_an_object_store(
    folder: UPath, site: Site, tmp_path: Path
) -> None:
    settings = Settings()
    request = RetrainConfig(dataset="d", dumps=(f"{folder}/", f"{folder}/week-*.gz"))
    assert request.files(settings) == ()
    with pytest.raises(UsageError):
        preflight.check_dumps(request, settings)
    for n in (2, 1):
        (folder / f"week-{n}.json.gz").write_bytes(site.body)
    found = request.files(settings)
    assert [shown(path) for path in found] == [f"{folder}/week-{n}.json.gz" for n in (1, 2)]
    gone = RetrainConfig(dataset="d", dumps=(f"s3://none-{uuid.uuid4().hex}/",))
    with pytest.raises(UsageError, match="bucket"):
        gone.files(settings)


def test_a_split_made_elsewhere_lies_elsewhere(folder: UPath, settings: Settings) -> None:
    """Its folder is both the source and the files that define the split."""
    for name, shift in (("train.txt", 0), ("test.txt", 1)):
        lists = ([user, 2 * user + shift, *range(40 + shift, 42 + user, 2)] for user in range(20))
        (folder / name).write_text("".join(" ".join(map(str, row)) + "\n" for row in lists))
    settings = settings.model_copy(update={"downloads": Settings().downloads})
    request = RunConfig(dataset="d", source=(f"{folder}/",), split="predefined", methods=("Pop",))
    preflight.check(request, settings)
    made = Pipeline(request, settings).prepare("split")
    assert made.split is not None
    assert made.split.summary["strategy"] == "predefined"
    assert paths(settings, "d") == [f"{folder}/train.txt", f"{folder}/test.txt"]
    named = request.model_copy(update={"split_files": f"{folder}/", "source": ()})
    preflight.check(named, settings)
    again = Pipeline(named, settings).prepare("split").split
    assert again is not None
    assert again.found
