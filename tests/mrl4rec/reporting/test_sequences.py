"""What the report says of sequences: masked or not, several vectors, questions, names of splits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mrl4rec import reporting as report
from mrl4rec.core.settings import Settings
from mrl4rec.models import resolve
from mrl4rec.reporting import answers, caveats, claims, command, markdown, sequence_views
from mrl4rec.reporting.comparable import heats
from mrl4rec.reporting.contest import contests
from mrl4rec.reporting.per_user import Place
from mrl4rec.reporting.questions import QUESTIONS
from mrl4rec.reporting.runs import Group, group, load_runs
from mrl4rec.reporting.warehouse import contexts
from tests.mrl4rec.reporting.per_user_samples import write
from tests.mrl4rec.reporting.report_warehouse import Counts, Model, dump, results

MADE = {"events": 9, "sequences": 4, "longest": 3, "repeated": 0, "repeats": False,
        "max_length": 50}  # fmt: skip
OF_SEQUENCES = Counts(strategy="by_user", sequences=MADE)
FREE = {"recall_unmasked": 0.4, "ndcg_unmasked": 0.3, "hr_unmasked": 0.5, "ndcg_hits_unmasked": 0.6}
CAVEAT = resolve("MTMI").caveat
USERS = 40


def mtmi(name: str, recall: float, count: int, seed: int = 0) -> Model:
    several = {"recall_union": recall * 0.9, "cosine": 0.25} if count > 1 else {}
    return Model(name, recall, seed=seed, settings={"interests": count, "beta": 0.1},
                 extra=FREE | several)  # fmt: skip


MODELS = (
    Model("Pop", 0.02, extra=FREE),
    mtmi("MTMI", 0.08, 4),
    mtmi("MTMI", 0.08, 4, seed=1),
    mtmi("MTMI-K1", 0.05, 1),
    mtmi("MTMI-K2", 0.06, 2),
    mtmi("MTMI-K1-wide", 0.09, 1),
)


def build(
    settings: Settings, counts: Counts = OF_SEQUENCES, models: Sequence[Model] = MODELS
) -> list[Group]:
    """A warehouse of these rows, whose users have the row's recall or nearly so."""
    dump(settings, "shop", counts)
    results(settings, "shop", models)
    noise = 1e-4 * np.random.default_rng(0).normal(size=USERS)
    for run in load_runs(settings, "shop"):
        recall = run.values["recall", 20, run.full]
        extra = {"recall_unmasked": [*(5 * recall + noise)[:-1], None]}
        write(settings, run, recall + noise, extra=extra)
    return group(load_runs(settings, "shop"))


def test_a_split_of_sequences_is_named_so(settings: Settings) -> None:
    build(settings)
    (context,) = contexts(settings, "shop", load_runs(settings, "shop"))
    assert context.split_name == "by_user of sequences, without repeats, the newest 50 events"
    (line,) = command.commands(settings, context)
    for words in ("--split by_user", "--sequences --drop-repeats --max-length 50", "--seeds 0 ",
                  "--more-seeds MTMI=1"):  # fmt: skip
        assert words in line


def test_rows_that_differ_in_their_vectors_alone_are_a_family(settings: Settings) -> None:
    groups = build(settings, models=MODELS[:5])
    (family,) = sequence_views.families(groups)
    assert [(count, one.method) for count, one in family.rows] == [
        (1, "MTMI-K1"), (2, "MTMI-K2"), (4, "MTMI")
    ]  # fmt: skip
    table = sequence_views.by_vectors(groups)
    assert table is not None
    assert [row[:1] + row[2:7] for row in table.rows] == [
        ["MTMI‡", "4", "0.0800 ± 0.0000", "0.0720 ± 0.0000", "90.0 %", "0.2500 ± 0.0000"],
        ["MTMI-K2‡", "2", "0.0600", "0.0540", "90.0 %", "0.2500"],
    ]
    masked = sequence_views.masked(groups, 20)
    assert masked is not None
    assert masked.rows[-1][2:4] == ["0.0200", "0.4000"]
    assert masked.head[-1] == "NDCG@20 all ¶"


def test_the_page_has_a_part_for_sequences(settings: Settings, tmp_path: Path) -> None:
    build(settings)
    html = report.build(settings, ["shop"], tmp_path / "page.html").read_text()
    assert 'id="shop-0-clean-sequences"' in html
    for figure in ("by-interests", "diversity", "masked"):
        assert f'id="shop-0-clean-{figure}' in html
    assert 'id="shop-0-clean-questions"' in html
    assert CAVEAT in html
    text = markdown.write(settings, ["shop"], tmp_path / "page.md").read_text()
    assert sequence_views.MERGED in text
    assert CAVEAT in text
    drawn = report.plots(settings, ["shop"], tmp_path / "plots")
    assert {"by_interests.png", "diversity.png", "masked.png"} <= {path.name for path in drawn}


def test_pairs_have_no_such_part(settings: Settings, tmp_path: Path) -> None:
    build(settings, Counts(), (Model("Pop", 0.02), Model("EASE", 0.03)))
    html = report.build(settings, ["shop"], tmp_path / "page.html").read_text()
    assert "clean-sequences" not in html
    assert caveats.SIGN not in html


def test_questions_are_answered_by_paired_tests(settings: Settings) -> None:
    build(settings)
    ((title, found),) = answers.answers(settings, "shop")
    assert "by_user of sequences" in title
    said = {one.claim.words: [str(told.verdict) for told in one.told] for one in found}
    assert said == {
        "four vectors a user beat one of as many numbers": ["the opposite"],
        "four vectors a user beat one of the same length": ["holds"],
        "more vectors are better": ["holds", "holds"],
    }
    printed = io.StringIO()
    report.print_answers(settings, "shop", printed)
    assert "the opposite" in printed.getvalue()
    board = io.StringIO()
    report.print_leaderboard(report.leaderboard(settings, "shop"), board)
    assert "by_user of sequences" in board.getvalue()
    assert CAVEAT[:40] in board.getvalue()


def test_unmasked_values_are_compared_of_the_users_who_have_them(settings: Settings) -> None:
    build(settings)
    (heat,) = heats(settings, ["MTMI", "MTMI-K1‡"])
    (one,) = contests(settings, heat.groups, Place("recall_unmasked", 20))
    assert one.found.users == USERS - 1
    assert one.found.mean_a == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize("claim", QUESTIONS, ids=lambda claim: claim.words)
def test_questions_are_of_methods_that_there_are(claim: claims.Claim) -> None:
    for _, *sides in claim.pairs:
        for side in sides:
            resolve(side.method.removesuffix(" rotated"))
