"""``mrl4rec simulate``: the ledger week by week, and whether the poison was kept out."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows import console, data_engine, preflight
from flows.cli import parser
from flows.config.simulate import SimulateConfig
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from flows import simulate
    from mrl4rec.core import nodes
    from mrl4rec.data.synthetic import weeks
    from mrl4rec.serving.promotion import formatting
    from mrl4rec.serving.registry import ledger

if TYPE_CHECKING:
    from flows.simulate import Simulation, Story, Told

COLUMNS = ["week", "ends", "decision", "NDCG@20", "gain", "interval", "in service", "why"]


def add_options(command: argparse.ArgumentParser) -> None:
    """All fields of a ``SimulateConfig``, and ``--config``."""
    parser.add_config(command)
    parser.add_fields(command, SimulateConfig)


def run(arguments: Namespace) -> Any:
    """Weeks that land one by one; ``ok`` False where a poisoned one was promoted."""
    config = SimulateConfig(**parser.given(arguments, SimulateConfig))
    spec = weeks.Weekly(
        poisoned=config.poisoned_week or None, poison=config.poison, seed=config.seed
    )
    asked = simulate.Simulation(spec, config.dataset, config.weeks)
    settings = data_engine.named(Settings(), config.data_engine)
    nodes.check_alone(settings, "mrl4rec simulate")
    settings.storage.check_writable()
    preflight.check_spark(asked.dataset, settings)
    story = simulate.simulate(asked, data_engine.choose(settings))
    answer = {
        "ok": story.ok,
        "dataset": asked.dataset,
        "weeks": [told.as_dict() for told in story.weeks],
        "poisoned": verdict(story),
        "dumps": str(story.landed.folder),
        "truth": str(story.landed.truth),
        "report": str(story.report),
    }
    if not arguments.json:
        _print(asked, story, answer)
    return answer


def verdict(story: Story) -> str:
    """What became of the poisoned week, in words."""
    told = story.poisoned
    if told is None:
        return "no week among these is poisoned"
    name = f"week {told.week} ({told.truth['poison']})"
    if told.row.decision == "promoted":
        return f"{name} got in: the model trained on it is in service"
    if told.week in story.taken:
        return f"{name} was taken in, and the model trained on it was not promoted"
    return f"{name} was kept out: {told.row.decision}, and none of its rows is in reviews"


def _print(asked: Simulation, story: Story, answer: Mapping[str, Any]) -> None:
    console.table(
        f"ledger of {asked.dataset}, week by week", COLUMNS, list(map(_line, story.weeks))
    )
    print(f"poison  {answer['poisoned']}")
    print(f"dumps   {answer['dumps']}, the truth in {answer['truth']}")
    print(f"report  {answer['report']}")
    print(f"next    {console.command(Settings(), 'ledger', '--dataset', asked.dataset)}")


def _line(told: Told) -> list[Any]:
    measured = told.measured
    numbers: list[Any] = [None] * 3
    if measured is not None:
        gain = measured["relative"]
        champion, challenger = (formatting.short(measured[x]) for x in ("champion", "challenger"))
        low, high = (formatting.signed(measured[end]) for end in ("low", "high"))
        percent = None if gain is None else formatting.percent(gain)
        numbers = [f"{champion} → {challenger}", percent, f"[{low}, {high}]"]
    decision = told.row.decision + (f" ({told.truth['poison']})" if told.truth["poison"] else "")
    champion = ledger.short(told.row.champion)[:6]
    return [told.week, told.ends, decision, *numbers, champion, _why(told)]


def _why(told: Told) -> str:
    """The reasons in short: the first one of a comparison is the numbers that stand beside it."""
    row = told.row
    failed = row.evidence.get("failed")
    if failed:
        seen = ", ".join(f"{f['name']} {f['seen']:.3g} ({f['wanted']})" for f in failed)
        return f"gate {row.evidence['gate']}: {seen}"
    if told.measured is None:
        return row.why
    return "; ".join(row.why.split("; ")[1:]) or "the interval lies above 0"
