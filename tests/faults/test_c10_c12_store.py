"""An object store that takes the keys no longer or is full, and a machine with a wrong clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from flows.cli import doctor, failures
from mrl4rec.core import object_lock, stage
from mrl4rec.core import object_store as stores
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed
from tests.faults.test_c02_lost_answers import ON_DUCKDB
from tests.faults.test_f18_disk import disk, fill, written  # noqa: F401  a small disk
from tests.object_store import BUCKET, KEYS, ObjectStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
OTHER = "another-of-no-worth"
"""The secret that the server takes from the middle of a run on."""
BEFORE_CORE = "stop before jobs.kcore:run 1"
ROOM = 32
"""KB that a full bucket has left: enough for locks, and for no stage."""
WRONG = 600
"""Seconds that a clock is off."""


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a lock's dead holder left is taken over after 5 s."""
    monkeypatch.setattr(object_lock, "STALE", 5.0)


@pytest.fixture
def its_own_secret(object_store: ObjectStore) -> Iterator[ObjectStore]:
    """The object store, which takes its own secret again after the test."""
    yield object_store
    object_store.end()
    object_store.start()


@pytest.mark.fault("C10")
def test_c10_the_keys_do_not_hold_any_more(
    lake: Settings, its_own_secret: ObjectStore, undisturbed: Undisturbed, children: Start,
    soon: None, record_property: Note,
) -> None:  # fmt: skip
    """After the ingest of a run the object store takes another secret than the run's"""
    run = children("split", undisturbed.dump, lake, at=BEFORE_CORE, **ON_DUCKDB)
    scene.wait_until(run.is_stopped)
    before = scene.digests(lake)
    its_own_secret.end()
    its_own_secret.start(OTHER)
    began = time.monotonic()
    run.send(signal.SIGCONT)
    said = run.ended(code=1)
    took = time.monotonic() - began
    assert took < 120
    assert "AWS_ACCESS_KEY_ID" in said
    assert "AWS_SECRET_ACCESS_KEY" in said
    assert not [value for value in (KEYS["AWS_SECRET_ACCESS_KEY"], OTHER) if value in said]
    its_own_secret.end()
    its_own_secret.start()
    assert scene.digests(lake) == before
    scene.run(lake, undisturbed.dump)
    assert scene.digests(lake) == undisturbed.digests
    record_property("came", f"stopped after {took:.0f} s, names the variables; again: same")


@pytest.mark.fault("C10")
def test_c10_new_keys_are_taken_up(
    lake: Settings, its_own_secret: ObjectStore, undisturbed: Undisturbed, children: Start,
    tmp_path: Path, record_property: Note,
) -> None:  # fmt: skip
    """The same, where a profile's credential_process gives keys for 10 minutes, then new ones"""
    secret, give = tmp_path / "secret", tmp_path / "give"
    secret.write_text(KEYS["AWS_SECRET_ACCESS_KEY"])
    give.write_text(
        "#!/bin/sh\nprintf '"
        '{"Version":1,"AccessKeyId":"%s","SecretAccessKey":"%s","Expiration":"%s"}'
        f'\' {KEYS["AWS_ACCESS_KEY_ID"]} "$(cat {secret})" '
        '"$(date -u -d +10min +%Y-%m-%dT%H:%M:%SZ)"\n'
    )
    give.chmod(0o700)
    config = tmp_path / "config"
    config.write_text(f"[profile turning]\ncredential_process = {give}\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        run = children("evaluate", undisturbed.dump, lake, at=BEFORE_CORE, AWS_PROFILE="turning",
                       AWS_CONFIG_FILE=str(config), **ON_DUCKDB)  # fmt: skip
    scene.wait_until(run.is_stopped)
    its_own_secret.end()
    its_own_secret.start(OTHER)
    secret.write_text(OTHER)
    run.send(signal.SIGCONT)
    run.ended()
    its_own_secret.end()
    its_own_secret.start()
    assert scene.digests(lake) == undisturbed.digests
    record_property("came", "went on with the new keys; same digests")


LIBRARIES = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime")


@pytest.fixture
def wrong_clock() -> dict[str, str]:
    """The environment of a process whose clock is slow; skipped without libfaketime."""
    found = [file for folder in LIBRARIES for file in Path(folder).glob("libfaketimeMT.so.1")]
    if not found:
        pytest.skip("libfaketime absent: apt-get install faketime")
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": f"-{WRONG}s"}


@pytest.mark.fault("C11")
def test_c11_one_of_two_has_a_wrong_clock(
    lake: Settings, undisturbed: Undisturbed, children: Start, wrong_clock: dict[str, str],
    record_property: Note,
) -> None:  # fmt: skip
    """Two runs at once on one data set, the clock of one ten minutes slow; then doctor with it"""
    runs = [children("split", undisturbed.dump, lake, **ON_DUCKDB, **clock)
            for clock in (wrong_clock, {})]  # fmt: skip
    said = "".join(run.ended() for run in runs)
    assert "is silent" not in said
    assert "was taken over" not in said
    for table in ("sources", "interactions", "splits"):
        assert len(stage_commits(lake, table)) == 1
    scene.run(lake, undisturbed.dump)
    assert scene.digests(lake) == undisturbed.digests
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "doctor", "--json"], capture_output=True, text=True,
        env={**os.environ, **wrong_clock, "MRL4REC_WAREHOUSE": str(lake.warehouse)}, check=False,
    )  # fmt: skip
    findings = json.loads(done.stdout)["findings"]
    (found,) = (one for one in findings if one["what"].startswith(f"warehouse {lake.warehouse}"))
    assert not found["ok"]
    off = [int(word) for word in found["what"].split() if word.isdigit()]
    assert any(abs(seconds - WRONG) < doctor.MOST_SKEW for seconds in off)
    record_property("came", f"no lock taken over, each stage once, same; doctor: {found['what']}")


def stage_commits(settings: Settings, table: str) -> list[object]:
    """The commits of a stage in a marker table."""
    return [*stage.history(settings.storage.table_uri(scene.DATASET, table), table)]


@pytest.fixture
def small(disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:  # noqa: F811
    """A warehouse in an object store on a small disk.

    The server writes what it knows of an object with it: beside it, on a full disk, it would be
    left of an object that is not there, and no writer could ever be the first.
    """
    store = ObjectStore(disk, attributes=True)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # they know the other server
    store.start()
    place = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    monkeypatch.setenv("MRL4REC_WAREHOUSE", place)
    yield Settings(warehouse=opened(place), data_engine="duckdb")
    store.end()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.fault("C12")
def test_c12_the_bucket_is_full(
    small: Settings, disk: Path, undisturbed: Undisturbed, soon: None,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch, record_property: Note,
) -> None:  # fmt: skip
    """Each stage writes to an object store on a disk with a few KB left; then room is made"""
    monkeypatch.setitem(stores.FOR_DELTA_RS, "retry_timeout", "5s")
    for name in scene.STAGES:
        before = written(small)
        fill(disk / "filler", ROOM)
        with pytest.raises(Exception) as full:
            scene.run(small, undisturbed.dump, until=name)
        told = failures.explained(full.value)
        assert "full" in told.what
        assert told.where == str(small.warehouse)
        left = written(small)  # the stage's own too, where the verdict on it found no room
        assert before.items() <= left.items() <= undisturbed.digests.items()
        (disk / "filler").unlink()
        scene.run(small, undisturbed.dump, until=name)
    assert scene.digests(small) == undisturbed.digests
    record_property("came", "the message says so; the version before is readable; again: same")
