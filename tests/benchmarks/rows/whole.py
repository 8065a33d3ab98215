"""Whole commands, as a person types them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.benchmarks import child
from tests.benchmarks.child import Outcome
from tests.benchmarks.context import Context
from tests.benchmarks.row import Row, Target
from tests.benchmarks.rows.beside import against

WITHOUT_JAVA = {"JAVA_HOME": "/nowhere"}
"""A command that succeeds with this has started no JVM."""
SEED = "2022"


def table_row(context: Context) -> Iterator[Row]:
    """One row of the paper's Table 2: MRL-M on Phones, protocol `paper`."""
    source, places = _phones(context), [context.scratch / name for name in ("cold", "row")]
    run = ["run", *source, "--methods", "MRL-M", "--protocol", "paper", "--seeds", SEED]
    # The first run starts with no compiled kernel and leaves them to the second.
    numba = {"NUMBA_CACHE_DIR": str(context.scratch / "numba")}
    cold = context.mrl4rec(*run, *_place(str(places[0])), env=numba)
    yield _row("row", "MRL-M from split files, nothing compiled", cold, 120)
    context.mrl4rec("split", *source, *_place(str(places[1])))
    warm = context.mrl4rec(*run, *_place(str(places[1])), env=numba)
    yield _row("row", "MRL-M from committed splits, kernels compiled", warm, 40)


def again(context: Context) -> Iterator[Row]:
    """A finished benchmark once more, and what `--help` takes."""
    dump = context.dump(20_000 if context.small else 60_000)
    methods = ["--methods", "Pop,BPR"] if context.small else []
    run = ["run", "--dataset", "again", "--source", str(dump), "--epochs", "2", *methods]
    run += _place(str(context.scratch / "again"))
    context.mrl4rec(*run)
    second = context.mrl4rec(*run, env=WITHOUT_JAVA)
    yield _row("again", "a finished `mrl4rec run` again, without a JVM", second, 20)
    quickest = min((context.mrl4rec("--help") for _ in range(3)), key=lambda o: o.seconds)
    yield _row("again", "`mrl4rec --help`", quickest, 0.5)


def refused(context: Context) -> Iterator[Row]:
    """A data set that is nowhere, until it is refused."""
    arguments = ["-m", "flows.cli", "run", "--dataset", "NO_SUCH", *_place(str(context.scratch))]
    outcome = child.watch([sys.executable, *arguments], expected=2)
    yield _row("refused", "`mrl4rec run --dataset NO_SUCH`, until refused", outcome, 1)


def planted10m(context: Context) -> Iterator[Row]:
    """The larger planted dump, to splits, with every gate."""
    rows = context.sizes[-1]
    yield _row("planted10m", f"{rows:,} JSON lines → splits, with gates", _split(context, rows))


def planted100m(context: Context) -> Iterator[Row]:
    """Ten times the larger planted dump with 8 GB of memory; and the growth of the cost."""
    rows = 10 * context.sizes[-1]
    outcomes = [_split(context, n, MRL4REC_MEMORY_GB="6") for n in (rows // 10, rows)]
    work = f"{rows:,} JSON lines → splits, with gates, MRL4REC_MEMORY_GB=6"
    yield _row("planted100m", work, outcomes[1], 25 * 60)
    small, large = (({"seconds": outcome.seconds}, outcome) for outcome in outcomes)
    peer = (f"the same with {rows // 10:,}", small)
    yield against("planted100m", f"growth: {work}", large, peer, Target("ratio", 12.0))


def _split(context: Context, rows: int, **env: str) -> Outcome:
    return context.mrl4rec(
        "split", "--dataset", f"planted-{rows}", "--source", str(context.dump(rows)), "--kcore",
        "5", *_place(str(context.scratch / "planted")), env=env,
    )  # fmt: skip


def _phones(context: Context) -> list[str]:
    if context.small:
        return ["--dataset", "planted-row", "--source", str(context.dump(20_000)), "--epochs", "2"]
    folder = context.phones()
    files = sorted(str(path) for path in folder.glob("t*.txt*"))
    return ["--dataset", "phones", "--source", *files, "--split", "predefined",
            "--split-files", str(folder)]  # fmt: skip


def _place(warehouse: str) -> list[str]:
    return ["--warehouse", warehouse, "--json"]


def _row(
    name: str, work: str, outcome: Outcome, at_most: float | None = None, note: str = ""
) -> Row:
    return Row(
        name,
        work,
        outcome.seconds,
        target=None if at_most is None else Target("seconds", at_most),
        cpu_seconds=outcome.cpu_seconds,
        peak_gb=outcome.peak_gb,
        note=note,
    )
