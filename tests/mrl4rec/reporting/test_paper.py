"""The paper's printed numbers, against sums and rows that are known apart from this file."""

from __future__ import annotations

from collections import Counter

from mrl4rec.models import METHODS, Trained, parse_levels, resolve
from mrl4rec.reporting import paper


def test_counts_are_those_of_the_papers_table_1() -> None:
    phones = paper.recognise(27_879, 10_429, 194_439)
    assert phones is not None
    assert phones.name == "Phones"
    assert {s.name: s.interactions for s in paper.SETS.values()} == {
        "Phones": 194_439, "Sports": 296_337, "Tools": 134_476,
    }  # fmt: skip
    assert paper.recognise(27_879, 10_429, 194_438) is None


def test_each_number_is_printed_once() -> None:
    places = Counter((p.dataset, p.method, p.levels, p.metric, p.k) for p in paper.PRINTED)
    assert set(places.values()) == {1}
    assert all(0.02 < p.value < 0.25 for p in paper.PRINTED)


def test_rows_are_where_the_paper_has_them() -> None:
    wanted = {
        ("Phones", "MRL-M", "recall", 20): 0.1286,
        ("Phones", "DCCF", "recall", 20): 0.1366,
        ("Phones", "BPR-D", "ndcg", 20): 0.0664,
        ("Sports", "MRL-M", "ndcg", 50): 0.0581,
        ("Sports", "DENS", "ndcg", 20): 0.0435,
        ("Tools", "BPR-D", "recall", 50): 0.0977,
        ("Tools", "BPR", "ndcg", 20): 0.0299,
        ("Tools", "MRL-M", "recall", 10): 0.0509,
    }
    for (dataset, method, metric, k), value in wanted.items():
        levels = paper.LEVELS if method.startswith("MRL") else None
        found = paper.lookup(dataset, method, levels, metric, k)
        assert found is not None, (dataset, method)
        assert found.value == value
    assert paper.lookup("Tools", "BPR", None, "ndcg", 10) is None


def test_table_4_rises_to_the_row_of_table_2_and_its_level_sets_are_valid() -> None:
    for dataset in paper.SETS:
        for count, levels in paper.LEVEL_SETS.items():
            assert len(parse_levels(levels, 64)) == count
            found = paper.lookup(dataset, "MRL-M", levels, "recall", 20)
            assert found is not None
            assert (found.table, found.note is None) == (
                ("2", True) if count == 5 else ("4", False)
            )


def test_rows_carry_levels_exactly_where_the_methods_do() -> None:
    ours = {name: m for name, m in METHODS.items() if isinstance(m, Trained)}
    ours["MRL-M@lightgcn-1"] = resolve("MRL-M@lightgcn-1")  # type: ignore[assignment]
    for number in paper.PRINTED:
        if number.method in ours:
            assert (number.levels is not None) == ours[number.method].has_levels
