"""The commands of the registry: who is in service, changing it, looking things up, making room."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from flows import console
from mrl4rec.errors import UsageError
from mrl4rec.settings import Settings


def registry(arguments: Namespace) -> Any:
    """Bring all into agreement and say how it stands; ``ok`` False where it could not be."""
    from mrl4rec.registry.agree import bring_into_agreement

    settings = Settings()
    dataset = _dataset(settings, arguments.dataset)
    found = bring_into_agreement(settings, dataset, n=arguments.n, widths=arguments.widths)
    answer = {"ok": found.ok, **_told(settings, found)}
    if not arguments.json:
        _print(f"registry of {dataset}", answer)
    return answer


def promote(arguments: Namespace) -> Any:
    """Make a model the champion."""
    from mrl4rec.registry import change, find

    settings = Settings()
    if arguments.dataset is not None:
        _dataset(settings, arguments.dataset)
    dataset, key = find.model(settings, arguments.model, arguments.dataset)
    done = change.promote(
        settings, dataset, key, arguments.why, n=arguments.n, widths=arguments.widths
    )
    return _changed(arguments, settings, done)


def rollback(arguments: Namespace) -> Any:
    """Go back to an earlier champion."""
    from mrl4rec.registry import change

    settings = Settings()
    dataset = _dataset(settings, arguments.dataset)
    done = change.rollback(
        settings, dataset, arguments.why, arguments.to, n=arguments.n, widths=arguments.widths
    )
    return _changed(arguments, settings, done)


def ledger(arguments: Namespace) -> Any:
    """Who was champion, when and why."""
    from mrl4rec.registry import ledger as ledgers
    from mrl4rec.registry.words import change_in_short, evidence_in_short

    settings = Settings()
    dataset = _dataset(settings, arguments.dataset)
    rows = ledgers.entries(settings, dataset)
    if arguments.json:
        return [{**asdict(row), "at": row.at.isoformat()} for row in rows]
    console.table(
        f"ledger of {dataset}",
        ["row", "at (UTC)", "decision", "champion", "challenger", "evidence", "why"],
        [
            [
                row.seq,
                f"{row.at:%Y-%m-%d %H:%M}",
                row.decision,
                change_in_short(row),
                row.challenger and ledgers.short(row.challenger),
                evidence_in_short(row.evidence),
                row.why,
            ]
            for row in rows
        ],
    )
    return None


def recommend(arguments: Namespace) -> Any:
    """One user's list."""
    from mrl4rec.registry import personal
    from mrl4rec.registry.ledger import short

    settings = Settings()
    dataset = _dataset(settings, arguments.dataset)
    found = personal.for_user(settings, dataset, arguments.user, arguments.n, arguments.width)
    if arguments.json:
        return asdict(found)
    print(f"for {found.user_id}, by {found.by} of {short(found.model)}, from the {found.source}")
    scores = [None if row["score"] is None else f"{row['score']:.4f}" for row in found.rows]
    console.table(
        "" if found.width is None else f"width {found.width}",
        ["rank", "item", "score"],
        [[r["rank"], r["item_id"], score] for r, score in zip(found.rows, scores, strict=True)],
    )
    if not found.known:
        print("nobody of this id is among the users: this is what most people took")
    elif found.by == "popularity":
        print("the model has seen nothing of this user: this is what most people took")
    return None


def vacuum(arguments: Namespace) -> Any:
    """Remove files that nothing needs."""
    from mrl4rec.registry.vacuum import vacuum as sweep

    settings = Settings()
    dataset = _dataset(settings, arguments.dataset)
    swept = sweep(settings, dataset, keep_days=arguments.keep_days, dry_run=arguments.dry_run)
    if arguments.json:
        return [asdict(table) for table in swept]
    console.table(
        f"{dataset}: {'would be removed' if arguments.dry_run else 'removed'}",
        ["table", "files", "MB", "kept besides the newest"],
        [[t.table, t.files, round(t.bytes / 1e6, 1), ", ".join(map(str, t.kept))] for t in swept],
    )
    return None


def _dataset(settings: Settings, name: str | None) -> str:
    """The data set that is meant: the one named, else the only one there is."""
    from flows.inspect_tables import chosen

    names = chosen(settings, name)
    if len(names) > 1:
        raise UsageError("there are several data sets", todo=f"--dataset {' | '.join(names)}")
    return names[0]


def _changed(arguments: Namespace, settings: Settings, done: Any) -> Any:
    answer = {
        "note": done.note,
        "row": done.entry.seq if done.entry else None,
        **_told(settings, done.agreement),
    }
    if arguments.json:
        return answer
    print(done.note)
    _print("", answer)
    return None


def _told(settings: Settings, agreement: Any) -> dict[str, Any]:
    """An agreement as JSON, with the champion's method where its folder is there."""
    from mrl4rec import model_folder
    from mrl4rec.errors import Mrl4recError
    from mrl4rec.registry.recommendations import model_dir

    method = None
    if agreement.champion is not None:
        try:
            folder = model_dir(settings, agreement.dataset, agreement.champion)
            method = model_folder.read_card(folder).method_name
        except Mrl4recError:
            method = None  # the folder is gone, which agreement.problems says
    return {**asdict(agreement), "method": method}


def _print(title: str, answer: dict[str, Any]) -> None:
    rows = [
        ["champion", answer["champion"] or "none yet"],
        ["method", answer["method"]],
        ["MLflow", f"version {answer['model_version']}" if answer["model_version"] else None],
        ["aliases agree", "yes" if answer["alias_ok"] else "no"],
        ["recommendations", _version(answer["recommendations_version"])],
        ["recommendations agree", "yes" if answer["recommendations_ok"] else "no"],
        *[["repaired", text] for text in answer["repaired"]],
        *[["problem", text] for text in answer["problems"]],
    ]
    console.table(title, ["fact", "value"], rows)


def _version(number: int | None) -> str | None:
    return None if number is None else f"version {number}"
