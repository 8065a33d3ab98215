"""The figures of retraining: the champion's metric over time, and how the dumps differ."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.reporting.figures import legend, panel, style, thousands
from mrl4rec.reporting.looks import PALETTE, shape
from mrl4rec.reporting.promotions import DISTANCES, History, name_of

with lazy.imports():
    from matplotlib import dates

CHAMPION, CHALLENGER, REFUSED = PALETTE[0], PALETTE[1], PALETTE[6]
MOST_NAMES = 6
"""Dumps whose names stand under an axis."""


def draw(found: History) -> dict[str, Any]:
    """The figures, by name; those without data are left out."""
    with style():
        drawn = {
            "champion_over_time": champion_over_time(found),
            "drift": drift(found),
            "drift_rows": rows(found),
            "drift_auc": auc(found),
        }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def champion_over_time(found: History) -> Any:
    """Champion and challenger on each window, with the interval of the gain.

    The time that a refused dump tells of is shaded, with × at its end.
    """
    judged = found.judged
    if not judged:
        return None
    figure, axes = panel()
    times = [j.since.replace(tzinfo=None) for j in judged]
    champion = [j.told["champion"] for j in judged]
    challenger = [j.told["challenger"] for j in judged]
    axes.plot(times, champion, "-o", color=CHAMPION, label="champion")
    axes.errorbar(
        times,
        challenger,
        # The interval is of the difference: around the champion it shows what chance may do.
        yerr=[[max(0.0, j.told["difference"] - j.told["low"]) for j in judged],
              [max(0.0, j.told["high"] - j.told["difference"]) for j in judged]],
        linestyle="none", color=CHALLENGER, capsize=2, elinewidth=0.8,
    )  # fmt: skip
    for time, value, judgement in zip(times, champion, judged, strict=True):
        if judgement.row.champion_before is None:
            who = judgement.row.evidence.get("champion", {}).get("method", "popularity")
            axes.annotate(f"{who}: no champion yet", (time, value), xytext=(6, -9),
                          textcoords="offset points", fontsize=7.5)  # fmt: skip
    for decision, face in (("promoted", CHALLENGER), ("kept", "none")):
        at = [n for n, j in enumerate(judged) if j.row.decision == decision]
        if at:
            axes.plot([times[n] for n in at], [challenger[n] for n in at], "D", color=CHALLENGER,
                      markerfacecolor=face, label=f"challenger {decision}")  # fmt: skip
    axes.set_ylim(bottom=0)
    refused = []
    for dump in found.refused():
        begins, ends = (time.replace(tzinfo=None) for time in (dump.begins, dump.ends))
        axes.axvspan(begins, ends, color=REFUSED, alpha=0.2, linewidth=0, zorder=0)
        refused.append(ends)
    if refused:
        axes.plot(refused, [0.0] * len(refused), "x", color=REFUSED, markersize=8,
                  markeredgewidth=2, clip_on=False, label="dump refused")  # fmt: skip

    if len({*times, *refused}) == 1:  # a single day is no range to put ticks on
        axes.set_xlim(times[0] - timedelta(days=3), times[0] + timedelta(days=3))
    locator = dates.AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, show_offset=False))
    axes.set_xlabel("begin of the window")
    axes.set_ylabel("NDCG@20")
    legend(figure, axes)
    return figure


def drift(found: History) -> Any:
    """Distances and gains of each dump against as many rows before it."""
    dumps = [dump for dump in found.dumps if dump["before"]["rows"]]
    if not dumps:
        return None
    figure, axes = panel()
    places = list(range(len(dumps)))
    for number, (name, said) in enumerate(DISTANCES.items()):
        values = [dump["change"][name] for dump in dumps]
        axes.plot(places, values, color=PALETTE[number % len(PALETTE)], label=said, **shape(number))
    axes.axhline(0, color=PALETTE[6], linewidth=0.7)
    axes.set_ylabel("distance, or gain of a share")
    _names(axes, [name_of(dump) for dump in dumps])
    legend(figure, axes)
    return figure


def rows(found: History) -> Any:
    """New rows of each dump but the first load, which would dwarf them."""
    dumps = found.dumps[1:] if len(found.dumps) > 1 else []
    if not dumps:
        return None
    figure, axes = panel()
    axes.bar(range(len(dumps)), [dump["rows"] for dump in dumps], color=PALETTE[0])
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("new rows")
    thousands(axes.yaxis)
    _names(axes, [name_of(dump) for dump in dumps])
    return figure


def auc(found: History) -> Any:
    """How well the champion told each dump's new pairs from others as popular."""
    dumps = [dump for dump in found.dumps if dump["champion_auc"] is not None]
    if not dumps:
        return None
    figure, axes = panel()
    values = [dump["champion_auc"] for dump in dumps]
    errors = [1.0 / dump["auc_pairs"] ** 0.5 for dump in dumps]  # two standard errors, at most
    axes.errorbar(range(len(dumps)), values, yerr=errors, marker="o", color=PALETTE[0], capsize=2,
                  elinewidth=0.8)  # fmt: skip
    axes.axhline(0.5, color=PALETTE[1], linestyle="--", linewidth=1)
    axes.annotate("no relation to the tastes known", (0.01, 0.5), xytext=(0, -9),
                  xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=7.5,
                  color=PALETTE[1])  # fmt: skip
    axes.set_ylim(min(0.4, *values) - 0.02, 1.0)
    axes.set_ylabel("AUC on new pairs")
    _names(axes, [name_of(dump) for dump in dumps])
    return figure


def _names(axes: Any, names: list[str]) -> None:
    """Names under an axis of dumps: not more of them than can be read."""
    step = -(-len(names) // MOST_NAMES)
    shown = range(0, len(names), step)
    cut = [name if len(name) <= 16 else name[:15] + "…" for name in names]
    axes.set_xticks(list(shown), [cut[n] for n in shown], rotation=30, ha="right")
    axes.set_xlim(-0.5, max(len(names) - 0.5, 0.5))
