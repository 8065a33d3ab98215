"""``mrl4rec compare``: the leaderboard, or paired tests between models, user by user."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import Any

from flows import console
from mrl4rec.core import lazy
from mrl4rec.core.choices import PROTOCOLS
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec import reporting as report
    from mrl4rec.reporting import comparable, contest, per_user

HEAD = ["A", "B", "A's mean", "B's mean", "A − B", "95 % interval", "relative", "d_z", "p",
        "p (Holm)", "seeds ±", "better"]  # fmt: skip

FORMS = {
    "markdown": "the leaderboard as Markdown, with Recall@20 by width",
    "latex": "the leaderboard as tables for a paper (package booktabs)",
    "csv": "the leaderboard with a line a model, for a spreadsheet",
}


def add_options(command: argparse.ArgumentParser) -> None:
    """The models, and what is compared of them."""
    add = command.add_argument
    add(
        "models",
        nargs="*",
        metavar="MODEL",
        help="two or more: methods or rows of the leaderboard, with all seeds, or single models "
        "by a name that `mrl4rec models` lists",
    )
    add("--dataset", help="only this data set; unset: every one")
    forms = command.add_mutually_exclusive_group()
    for form, text in FORMS.items():
        forms.add_argument(f"--{form}", action="store_const", dest="form", const=form, help=text)
    add("--metric", default="ndcg", help="the metric of each user that is compared")
    add("--k", type=int, default=20, help="length of the ranked list")
    add("--width", type=int, help="first so many dimensions; unset: all of a model")
    add("--protocol", choices=PROTOCOLS, help="unset: clean where all have it, else paper")
    add("--draws", type=int, help="bootstrap samples and sign flips; unset: up to 10,000")
    add("--seed", type=int, default=0, help="of the draws")


def run(arguments: Namespace) -> Any:
    """Print the leaderboard; with names, the paired tests between them."""
    settings = Settings()
    settings.storage.chosen([arguments.dataset] if arguments.dataset else None)
    if arguments.models:
        return paired(arguments, settings)

    rows = report.leaderboard(settings, arguments.dataset)
    if arguments.json:
        return rows
    if arguments.form is None:
        report.print_leaderboard(rows, settings=settings)
        report.print_answers(settings, arguments.dataset)
    else:
        print(getattr(report, f"as_{arguments.form}")(rows, settings), end="")
    return None


def paired(arguments: Namespace, settings: Settings) -> Any:
    """Every pair of the models named, on each data set that has them all."""
    place = per_user.Place(arguments.metric, arguments.k, arguments.width)
    found = comparable.heats(
        settings, arguments.models, dataset=arguments.dataset, protocol=arguments.protocol
    )
    answers = []
    for heat in found:
        pairs = contest.contests(
            settings, heat.groups, place, draws=arguments.draws, seed=arguments.seed
        )
        answers.append(
            {
                "dataset": heat.dataset,
                "split": heat.split,
                "protocol": heat.protocol,
                "metric": place.metric,
                "k": place.k,
                "width": place.width,
                "comparisons": [pair.as_dict() for pair in pairs],
            }
        )
        if not arguments.json:
            users = f"{pairs[0].found.users:,} users"
            title = f"{heat.dataset} · {heat.split} · protocol {heat.protocol} · {place.name}"
            console.table(f"{title} · {users}", HEAD, [_row(pair) for pair in pairs])
            for note in dict.fromkeys(pair.seeds_note for pair in pairs if pair.seeds_note):
                print(f"note  {note}")
    if arguments.json:
        return answers
    print(
        "interval: users drawn again; p: signs flipped, two-sided; p (Holm): corrected for the "
        "comparisons of its table\nd_z: mean difference / its standard deviation over users; "
        "seeds ±: what other training seeds add to A − B"
    )
    return None


def _row(pair: Any) -> list[str]:
    found = pair.found
    return [
        pair.a.name,
        pair.b.name,
        f"{found.mean_a:.4f}",
        f"{found.mean_b:.4f}",
        f"{found.difference:+.4f}",
        f"{found.low:+.4f} … {found.high:+.4f}",
        "–" if found.relative is None else f"{100 * found.relative:+.1f} %",
        "–" if found.d_z is None else f"{found.d_z:+.3f}",
        f"{found.p:.4f}",
        f"{pair.p_holm:.4f}",
        "–" if pair.seeds_sd is None else f"{pair.seeds_sd:.4f}",
        "neither" if pair.better is None else "A" if pair.better is pair.a else "B",
    ]
