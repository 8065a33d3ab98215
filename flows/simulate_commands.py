"""The command ``simulate``: the ledger week by week, and whether the poison was kept out."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows import console
from mrl4rec.settings import Settings

if TYPE_CHECKING:
    from flows.simulate import Simulation, Story, Told
    from mrl4rec.registry.ledger import Entry

COLUMNS = ["week", "ends", "decision", "champion", "challenger", "interval of the gain", "users",
           "in service", "why"]  # fmt: skip


def simulate(arguments: Namespace) -> Any:
    """Weeks that land one by one; ``ok`` False where a poisoned one was promoted."""
    from flows.simulate import Simulation
    from flows.simulate import simulate as run
    from mrl4rec.synthetic.weeks import Weekly

    spec = Weekly(
        poisoned=arguments.poisoned_week or None, poison=arguments.poison, seed=arguments.seed
    )
    asked = Simulation(spec, arguments.dataset, arguments.weeks)
    story = run(asked, Settings())
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
    print(f"next    mrl4rec ledger --dataset {asked.dataset}")


def _line(told: Told) -> list[Any]:
    from mrl4rec.registry.ledger import short

    measured = told.measured
    values: list[Any] = [None] * 4
    if measured is not None:
        values = [
            f"{measured['champion']:.4f}",
            f"{measured['challenger']:.4f}",
            f"{measured['low']:+.4f} … {measured['high']:+.4f}",
            str(measured["users"]),
        ]
    decision = told.row.decision + (f" ({told.truth['poison']})" if told.truth["poison"] else "")
    return [told.week, told.ends, decision, *values, short(told.row.champion)[:6], _why(told.row)]


def _why(row: Entry) -> str:
    """The reasons; the first of a comparison is the numbers, which stand beside it."""
    reasons = row.why.split("; ")
    return "; ".join(
        reasons[1:] if len(reasons) > 1 and row.evidence.get("difference") else reasons
    )
