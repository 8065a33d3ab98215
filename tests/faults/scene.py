"""One small data set, the stages that are run on it, and the oracle: digests of all they leave."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from deltalake import DeltaTable

from flows.config.run import RunConfig
from flows.pipeline import Pipeline, Step, plain
from mrl4rec.core.hashing import chain
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import open_table, read_parquet
from mrl4rec.models import model_folder
from mrl4rec.tables import versions

ROOT = Path(__file__).resolve().parents[2]
DATASET = "d"
AS_OF = "2020-01-01"
METHOD = "MRL-M"
OVERRIDES = (f"{METHOD}.dim=8", f"{METHOD}.batch=64", f"{METHOD}.lr=0.02")
EPOCHS = 12
TABLES = {
    "sources": ("reviews", "quarantine", "sources"),
    "interactions": ("users", "items", "interactions"),
    "splits": ("splits",),
}
"""Marker → the tables that readers find through it."""
ENDS = ("gate reviews", "gate core", "gate split", "gate vectors", "gate results")
STAGES = ("ingest", "kcore", "split", "train", "evaluate")
"""Each stage, done when the gate of the same place has passed."""
SMALL = {"MRL4REC_SPARK_MEMORY": "1g", "MRL4REC_SHUFFLE_PARTITIONS": "2"}


def reviews(users: int = 60, items: int = 30, each: int = 10) -> list[str]:
    """Amazon's JSON lines: three groups of users, each mostly in its own third of the items."""
    lines = []
    for user in range(users):
        for n in range(each):
            word = chain(7, user, n)
            third = user % 3 if word % 10 < 8 else word // 10 % 3
            body = {
                "reviewerID": f"A{user:013d}",
                "asin": f"B{third * (items // 3) + (word >> 20) % (items // 3):09d}",
                "overall": 1.0 + word % 5,
                "unixReviewTime": 1_000_000_000 + user * 1000 + n,
            }
            lines.append(json.dumps(body))
    return lines


def dump(path: Path) -> Path:
    """600 good reviews, one of them twice; a rating of 9, half a line, and bytes not UTF-8."""
    lines = reviews()
    bad = [lines[1].replace('"overall": ', '"overall": 9'), lines[2][:40]]
    text = "\n".join([*lines, lines[0], *bad]).encode()
    path.write_bytes(text + b'\n{"reviewerID": "\xff\xfe"}\n')
    return path


def request(source: Path, **changes: Any) -> RunConfig:
    """What is asked for in-process."""
    asked = {
        "dataset": DATASET, "source": (str(source),), "kcore": 2, "methods": (METHOD,),
        "levels": ("4,8",), "overrides": OVERRIDES, "epochs": EPOCHS, "as_of": AS_OF,
        "device": "cpu",
    }  # fmt: skip
    return RunConfig(**{**asked, **changes})


def arguments(source: Path) -> list[str]:
    """The same for the command line, after the name of the command."""
    sets = [word for value in OVERRIDES for word in ("--set", value)]
    return [
        "--dataset", DATASET, "--source", str(source), "--kcore", "2", "--methods", METHOD,
        "--levels", "4,8", *sets, "--epochs", str(EPOCHS), "--as-of", AS_OF, "--device", "cpu",
    ]  # fmt: skip


def run(settings: Settings, source: Path, step: Step = plain, until: str = "evaluate") -> None:
    """All stages up to one, each behind its gate, in this process."""
    pipeline = Pipeline(request(source), settings, step)
    pipeline.prepare(until)
    for cell in pipeline.cells if until in ("train", "evaluate") else ():
        train = pipeline.train(cell)
        if until == "evaluate":
            pipeline.evaluate(train, cell)


def jobs(
    settings: Settings, *dumps: Sequence[Path], peel: Settings | None = None
) -> tuple[Commit, Commit, Commit]:
    """So many ingests, the k-core after each (with settings of its own) and the split of the last,
    without gates.
    """
    from jobs import kcore, split

    for files in dumps:
        taken = ingest(settings, files)
        core = kcore.run(DATASET, taken, k=2, settings=peel or settings)
    return taken, core, split.run(DATASET, core, strategy="random", settings=settings)


def ingest(settings: Settings, files: Sequence[Path]) -> Commit:
    """Files taken in together, without a gate."""
    from jobs.ingest import IngestRequest
    from jobs.ingest import run as take_in

    as_of = request(files[0]).as_of_time()
    return take_in(IngestRequest(DATASET, tuple(files), as_of=as_of), settings)


class Child:
    """A command in a process group of its own; what it says goes to files beside its warehouse."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.out, self.err = folder / "child.out", folder / "child.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **SMALL, **environment},
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def said(self) -> str:
        """Its stderr so far."""
        return self.err.read_text(errors="replace")

    def ended(self, code: int = 0) -> str:
        """Wait for its end, which must be of this exit code; what it said on stderr."""
        self.process.wait(timeout=600)
        assert self.process.returncode == code, self.out.read_text()[-1000:] + self.said()[-3000:]
        return self.said()

    def killed(self, by: signal.Signals = signal.SIGKILL) -> None:
        """Wait until the blow fell."""
        self.ended(-by)

    def is_stopped(self) -> bool:
        """Whether it stands still; it must not have ended."""
        assert self.process.poll() is None, self.said()[-3000:]
        return psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> None:
        """kill -9, whatever is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def child(
    command: str,
    source: Path,
    settings: Settings,
    *,
    at: str | None = None,
    without: str | None = None,
    **environment: str,
) -> Child:
    """Start one command, struck at a point where one is named, without a guard where one is."""
    blow = [*(["--at", at] if at else []), *(["--without", without] if without else [])]
    asked = [command, *arguments(source), "--json", "--warehouse", str(settings.warehouse)]
    return Child(
        [sys.executable, "-m", "tests.faults.crash", *blow, "--", *asked],
        Path(tempfile.mkdtemp(prefix="mrl4rec-child-")),
        environment,
    )


def wait_until(ready: Callable[[], bool], seconds: float = 600) -> None:
    """Look fifty times a second."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def ask(address: str, body: Any = None) -> Any:
    """The answer of Prefect's API; None where it gives none."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, data=data, headers=headers)
    with suppress(OSError), urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
    return None


# ---------------------------------------------------------------------- the oracle


def digests(settings: Settings) -> dict[str, str]:
    """SHA-256 of the rows of every table as its readers find it, of the vectors and the results."""
    found = {}
    names: dict[str, dict[int, str]] = {}
    for marker, tables in TABLES.items():
        commit = versions.newest_good(settings, DATASET, marker)
        for table in tables if commit is not None else ():
            assert commit is not None
            rows = read(settings, table, commit)
            found[table] = digest(named(row, names) for row in rows)
            if table in ("users", "items"):
                side = table[:-1]
                names[side] = {row[f"{side}_idx"]: row[f"{side}_id"] for row in rows}
    return found | _vectors(settings) | _results(settings)


def by_ids(
    settings: Settings, commits: Mapping[str, Commit], dataset: str = DATASET
) -> dict[str, str]:
    """Digests of reviews, interactions and splits, by external ids alone: table → its commit."""
    names = {}
    for side in ("user", "item"):
        rows = read(settings, f"{side}s", commits["interactions"], dataset)
        names[side] = {row[f"{side}_idx"]: row[f"{side}_id"] for row in rows}
    return {
        table: digest(
            _without_numbers(named(row, names)) for row in read(settings, table, commit, dataset)
        )
        for table, commit in commits.items()
    }


def ids_after(settings: Settings, *dumps: Sequence[Path]) -> dict[str, str]:
    """``by_ids`` after so many ingests, each with its k-core, and a split."""
    ingest, core, split = jobs(settings, *dumps)
    return by_ids(settings, {"reviews": ingest, "interactions": core, "splits": split})


def _without_numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.endswith("_idx")}


def read(
    settings: Settings, table: str, commit: Commit, dataset: str = DATASET
) -> list[dict[str, Any]]:
    """The rows of a table at the version a commit names."""
    delta = DeltaTable(settings.storage.table_uri(dataset, table), commit.table_version(table))
    return list(delta.to_pyarrow_table().to_pylist())


def named(row: Mapping[str, Any], names: Mapping[str, Mapping[int, str]]) -> dict[str, Any]:
    """A row with its external ids beside the numbers, without where its dump lay."""
    ids = {f"{side}_id": known[row[f"{side}_idx"]] for side, known in names.items()
           if f"{side}_idx" in row}  # fmt: skip
    return {name: value for name, value in {**row, **ids}.items() if name != "path"}


def digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 of rows in one order, whatever theirs was."""
    lines = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _vectors(settings: Settings) -> dict[str, str]:
    folders = settings.storage.models_dir(DATASET).glob("[0-9a-f]*")
    return {
        f"vectors {folder.name[:12]}": model_folder.digest(folder)
        for folder in sorted(folders)
        if model_folder.is_complete(folder)
    }


def _results(settings: Settings) -> dict[str, str]:
    delta = open_table(settings.storage.table_uri(DATASET, "results"))
    if delta is None:
        return {}
    rows = delta.to_pyarrow_table().to_pylist()
    found = {"results": digest({**row, "run_id": None} for row in rows)}
    for key in {row["stage_key"] for row in rows}:
        users = read_parquet(settings.storage.per_user_file(DATASET, key)).to_pylist()
        found[f"per user {key[:12]}"] = digest(users)
    return found


def marks(settings: Settings) -> dict[str, int]:
    """Versions of all tables but ``gates``, and which folder on disk each model is."""
    folder = settings.storage.dataset_dir(DATASET)
    tables = [path.parent.name for path in folder.glob("*/_delta_log")]
    found = {name: versions.version(settings, DATASET, name) for name in tables if name != "gates"}
    models = settings.storage.models_dir(DATASET).glob("[0-9a-f]*")
    return found | {f"models/{path.name}": path.stat().st_ino for path in models}
