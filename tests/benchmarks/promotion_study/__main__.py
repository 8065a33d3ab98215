"""``python -m tests.benchmarks.promotion_study``: train, decide, print the tables."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.data.interactions import Interactions
from mrl4rec.data.synthetic.spec import Planted
from mrl4rec.models import Trained, parse_levels, resolve
from mrl4rec.serving.promotion.decision import Rules
from tests.benchmarks.promotion_study import guide, models, page, trials, window

CALIBRATION = 1 << 40
"""Seeds from here on find the weights of the gains; they take no part in the pairs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a study; the exit code."""
    options = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        body = study(options)
    except Mrl4recError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    options.out.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    print(page.page(body["rows"]))
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.promotion_study",
        description="how often a challenger is promoted that differs by seed alone, or is better",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = made.add_argument
    add("--csv", type=Path, help="users, items and times; without it a planted dump")
    add("--columns", default=",".join(window.COLUMNS), help="of users, items, times (s since 1970)")
    add("--planted", default="2000,1500,60000", help="users, items and reviews to plant")
    add("--share", type=float, default=0.1, help="of the newest pairs, which are the window")
    add("--method", default="MRL-M", help="a method trained by steps")
    add("--set", action="append", default=[], metavar="METHOD.name=value")
    add("--levels", help="nested widths, as 4,8,16")
    add("--models", type=int, default=60, help="seeds to train")
    add("--calibration", type=int, default=4, help="more seeds, to find the weights")
    add("--epochs", type=int, default=12, help="of every model")
    add("--gains", default="0.02,0.05,0.1", help="of the challengers, in NDCG@20")
    add("--pairs", type=int, default=200)
    add("--users", default="all", help="judged in each pair, drawn anew, as 1000,all")
    add("--alpha", type=float, default=Rules.alpha)
    add("--draws", type=int, default=Rules.draws)
    add("--folder", type=Path, default=Path("study"), help="keeps trained models' values")
    add("--out", type=Path, default=Path("study.json"))
    return made


def study(options: argparse.Namespace) -> dict[str, Any]:
    """The whole study, as JSON values."""
    data = _data(options)
    method = resolve(options.method, options.set)
    if not isinstance(method, Trained):
        raise UsageError(f"{method.name} has no seed", where="--method", todo="e.g. MRL-M")
    levels = parse_levels(options.levels, method.dim) if options.levels else None
    rules = Rules(alpha=options.alpha, draws=options.draws)
    gains = [float(word) for word in options.gains.split(",") if word]
    made = models.recipe(method, levels, options.epochs)
    first = range(CALIBRATION, CALIBRATION + options.calibration)
    options.folder.mkdir(parents=True, exist_ok=True)
    mixed = guide.guide(data, options.folder / f"guide-{data.digest()[:24]}.npz")
    tried = models.measure(data, made, first, mixed, guide.GRID, options.folder).means()
    weights = guide.weights_for(tried, gains)
    logging.info("NDCG@20 by weight %s; weights %s", [f"{v:.4f}" for v in tried], weights)
    bank = models.measure(data, made, range(options.models), mixed, weights, options.folder)
    users = [None if word == "all" else int(word) for word in options.users.split(",")]
    rows = list(trials.table(bank, options.pairs, users, rules, options.folder))
    return {
        "data": {"pairs": len(data.users_P), "users": data.n_users, "items": data.n_items},
        "judged": len(bank.field.users_E),
        "recipe": made.as_dict(),
        "tried": dict(zip(map(str, guide.GRID), tried, strict=True)),
        "ndcg@20": dict(zip(map(str, bank.weights), bank.means(), strict=True)),
        "rules": rules.as_dict(),
        "rows": rows,
    }


def _data(options: argparse.Namespace) -> Interactions:
    if options.csv is None:
        users, items, reviews = (int(word) for word in _three(options.planted, "--planted"))
        return window.planted(Planted(users, items, reviews), options.share)
    return window.from_csv(options.csv, _three(options.columns, "--columns"), options.share)


def _three(text: str, option: str) -> list[str]:
    words = text.split(",")
    if len(words) != 3:
        raise UsageError(f"{text!r} is not three values", where=option, todo="as a,b,c")
    return words


if __name__ == "__main__":
    sys.exit(main())
