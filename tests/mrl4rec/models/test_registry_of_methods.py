"""Methods as data: names, overrides, level sets, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrl4rec.core.errors import UsageError
from mrl4rec.models import METHODS, Trained, from_dict, parse_levels, resolve
from mrl4rec.models.ease import Ease
from mrl4rec.models.pairwise import OBJECTIVES, Pairwise
from mrl4rec.models.samplers import (
    KINDS,
    Ahns,
    DnsBest,
    Negatives,
    NoNegatives,
    PerLevel,
    Shared,
    named,
)


def factors(name: str, *overrides: str) -> Trained:
    method = resolve(name, overrides)
    assert isinstance(method, Trained)
    return method


def test_the_papers_rows() -> None:
    rows = {
        m.name: (m.objective, m.negatives.word, m.negatives.candidates)
        for m in METHODS.values()
        if isinstance(m, Pairwise)
    }
    paper = {
        "BPR": ("bpr", "uniform", 1),
        "BPR-D": ("bpr", "dns", 16),
        "BPR-D80": ("bpr", "dns", 80),
        "BPR-M": ("bpr", "per_level", 16),
        "MRL-D": ("mrl", "dns", 16),
        "MRL-M": ("mrl", "per_level", 16),
    }
    assert {name: rows[name] for name in paper} == paper
    mrl = factors("MRL-M")
    assert (mrl.dim, mrl.lr, mrl.l2, mrl.batch) == (64, 1e-3, 1e-4, 2048)
    assert (mrl.epochs, mrl.evaluate_every, mrl.patience, mrl.init) == (300, 5, 10, "xavier")
    assert resolve("ease").as_dict() == {"name": "EASE", "model": "ease", "lam": 200.0}


def test_which_take_levels_and_seeds() -> None:
    assert {name for name, m in METHODS.items() if m.has_levels} == {
        "BPR-M", "MRL-D", "MRL-M", "LHANS",
    }  # fmt: skip
    fixed = {
        "Pop",
        "RecentPop",
        "EASE",
        "ItemCF",
        "RP3beta",
        "SLIM",
        "EASE-SVD",
        "LastItem",
        "SeqRules",
    }
    assert {name for name, m in METHODS.items() if m.deterministic} == fixed
    assert {name for name, m in METHODS.items() if m.closed_form} == fixed | {"iALS", "iALS-wide"}


def test_every_objective_and_kind_of_negatives_is_used_by_a_variant() -> None:
    pairwise = [m for m in METHODS.values() if isinstance(m, Pairwise)]
    assert {m.objective for m in pairwise} == set(OBJECTIVES)
    used = {m.negatives.inner.kind for m in METHODS.values() if isinstance(m, Trained)}
    assert set(KINDS) <= used


@pytest.mark.parametrize(
    ("negatives", "kind", "widths"),
    [
        ("dns", "dns", (8,)),
        ("per_level", "dns", (2, 8)),
        ("per_level(dns)", "dns", (2, 8)),
        ("per_level(ahns)", "ahns", (2, 8)),
        ("per_level(uniform)", "uniform", (2, 8)),
    ],
)
def test_a_kind_of_negatives_is_made_once_or_a_level(
    negatives: str, kind: str, widths: tuple[int, ...]
) -> None:
    method = Pairwise("X", "mf", "mrl", named(negatives), dim=8).changed(candidates=1)
    assert (method.negatives.inner.kind, method.scored_at((2, 8))) == (kind, widths)
    assert method.drawn((2, 8)) == len(widths)


@pytest.mark.parametrize("negatives", ["per_level(", "dnss", "per_level(nope)"])
def test_what_is_no_kind_of_negatives(negatives: str) -> None:
    with pytest.raises(UsageError):
        named(negatives)


@pytest.mark.parametrize("each", [NoNegatives(), Shared(8), DnsBest(8)])
def test_what_takes_several_or_none_is_not_made_a_level(each: Negatives) -> None:
    with pytest.raises(UsageError, match=each.kind):
        Pairwise("X", "mf", "mrl", PerLevel(each))


def test_values_of_parts_are_changed_by_their_flat_names() -> None:
    method = METHODS["LHANS"].changed(lr=0.5, beta=0.25, candidates=4)
    values = method.as_dict()
    assert (values["lr"], values["beta"], values["candidates"]) == (0.5, 0.25, 4)
    assert METHODS["LHANS"].as_dict()["beta"] == 0.1
    with pytest.raises(TypeError):
        method.changed(nonsense=1)


def test_other_negatives_than_the_variants_are_read_back() -> None:
    method = METHODS["BPR-D"]
    assert isinstance(method, Pairwise)
    other = replace(method, negatives=PerLevel(Ahns(8, beta=0.5)))
    assert from_dict(other.as_dict()) == other


def test_candidates_drawn_for_a_positive() -> None:
    levels = (4, 8, 16, 32, 64)
    drawn = {name: method.drawn(levels) for name, method in METHODS.items()}
    wanted = {
        "BPR": 1, "BPR-D": 16, "BPR-D80": 80, "BPR-M": 80, "MRL-D": 16, "MRL-M": 80, "LHANS": 80,
        "AHNS": 32, "DENS": 6, "DAU": 0, "SSM": 0, "BSL": 1024, "EASE": None, "Pop": None,
    }  # fmt: skip
    assert {name: drawn[name] for name in wanted} == wanted
    assert METHODS["MRL-M"].drawn((32, 64)) == 32


@pytest.mark.parametrize("name", ["mrl-m", "MRL-M", " Mrl-M "])
def test_names_are_found_whatever_their_case(name: str) -> None:
    assert resolve(name) is METHODS["MRL-M"]


def test_another_model_only_swaps_the_model() -> None:
    graph = factors("mrl-m@LightGCN-1")
    assert (graph.name, graph.model) == ("MRL-M@lightgcn-1", "lightgcn-1")
    plain = METHODS["MRL-M"].as_dict()
    assert {**graph.as_dict(), "name": "MRL-M", "model": "mf"} == plain
    assert resolve("BPR@mf") is METHODS["BPR"]


def test_a_dimension_in_the_name_makes_a_method_of_its_own() -> None:
    narrow = factors("bpr-d#16", "BPR-D.lr=0.5", "BPR-D#16.l2=0")
    assert (narrow.name, narrow.dim, narrow.lr, narrow.l2) == ("BPR-D#16", 16, 1e-3, 0)
    assert narrow.widths(None) == (4, 8, 16)
    graph = factors("MRL-M@lightgcn-1#16")
    assert (graph.name, graph.model, graph.dim) == ("MRL-M@lightgcn-1#16", "lightgcn-1", 16)
    wide = resolve("iALS-wide#512")
    assert wide.widths(None)[-2:] == (256, 512)
    for method in (narrow, graph, wide):
        assert from_dict(method.as_dict()) == method


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("EASE#16", "no dimension to set"),
        ("BPR-D#", "no number of dimensions"),
        ("BPR-D#0", "no number of dimensions"),
        ("BPR-D#x", "BPR-D#16"),
        ("BPR-D#\x1e8\x1e8", "BPR-D#16"),
        ("MLR-M#8", "MRL-M"),
        ("MLR-M", "MRL-M"),
        ("", "known"),
        ("MRL-M@", "lightgcn-N"),
        ("MRL-M@lightgcn-0", "lightgcn-N"),
        ("MRL-M@gat", "lightgcn-N"),
        ("EASE@lightgcn-1", "no model to swap"),
    ],
)
def test_unknown_names_are_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        resolve(name)


def test_overrides_change_their_own_method_only() -> None:
    overrides = ["EASE.lam=50", "mrl-m.candidates=8", "MRL-M@lightgcn-1.lr=0.01", "MRL-M.l2=0"]
    ease = resolve("EASE", overrides)
    assert isinstance(ease, Ease)
    assert ease.lam == 50.0
    assert (factors("MRL-M", *overrides).negatives.candidates, factors("MRL-M", *overrides).lr) == (
        8,
        1e-3,
    )
    assert factors("MRL-M@lightgcn-1", *overrides).lr == 0.01
    assert resolve("BPR-D", overrides) is METHODS["BPR-D"]


@pytest.mark.parametrize(
    "override",
    [
        "EASE.lam",
        "lam=3",
        "EASE.=3",
        "NOPE.lam=3",
        "EASE.lamda=3",
        "EASE.lam=abc",
        "EASE.lam=nan",
        "EASE.lam=0",
        "BPR-D.candidates=0",
        "BPR-D.candidates=2.5",
        "BPR.candidates=4",
        "BPR-D.dim=levels",
        "MRL-M.dim=wide",
        "MRL-M.init=normal",
        "MRL-M.lr=inf",
        "MRL-M.name=x",
        "SSM.tau=0",
        "SSM.similarity=dot",
        "SSM.candidates=4",
        "DAU.candidates=2",
        "BSL.scoring=none",
        "UIB.form=own",
        "UIB.a=1.5",
        "AHNS.alpha=0",
        "DNS-MN.top=0",
        "DENS.warm_up=1.5",
        "Pop.lam=1",
        "ItemCF.shrink=-1",
        "iALS.dim=levels",
        "iALS.dim=0",
        "iALS-wide.rotated=0",
        "SLIM.l2=0",
    ],
)
def test_bad_overrides_are_refused_whichever_method_is_asked_for(override: str) -> None:
    for name in METHODS:
        try:
            resolve(name, [override])
        except UsageError:
            return
    pytest.fail(f"{override} was taken by every method")


@pytest.mark.parametrize("name", [*METHODS, "BPR-M@lightgcn-3"])
def test_a_method_survives_as_dict(name: str) -> None:
    method = resolve(name, ["MRL-M.lr=0.5", "EASE.lam=7"])
    assert from_dict(method.as_dict()) == method


@given(st.lists(st.integers(1, 512), min_size=1, max_size=8, unique=True).map(sorted))
def test_any_rising_list_is_a_level_set(levels: list[int]) -> None:
    text = ", ".join(map(str, levels))
    assert parse_levels(text, levels[-1]) == tuple(levels) == parse_levels(levels, None)


@pytest.mark.parametrize(
    ("levels", "dim", "why"),
    [
        ("8,4,64", 64, "rise strictly"),
        ("4,4,64", 64, "rise strictly"),
        ("0,64", 64, "rise strictly"),
        ("", 64, "whole numbers"),
        ("4,,64", 64, "whole numbers"),
        ("4,x,64", 64, "whole numbers"),
        ("-4,64", 64, "whole numbers"),
        ([4.5, 64], 64, "whole numbers"),
        ([], 64, "whole numbers"),
        ("4,8,32", 64, "ends at 32"),
        ("4,8,128", 64, "ends at 128"),
    ],
)
def test_what_is_no_level_set(levels: str, dim: int, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_levels(levels, dim)


def test_a_dimension_can_follow_the_level_set() -> None:
    method = factors("MRL-M", "MRL-M.dim=levels")
    assert method.width((4, 24)) == 24
    assert parse_levels("4,24", method.dim) == (4, 24)


def test_widths_are_the_levels_or_the_prefixes_of_figure_3() -> None:
    assert METHODS["MRL-M"].widths((16, 64)) == (16, 64)
    assert METHODS["BPR-D"].widths(None) == (4, 8, 16, 32, 64)
    assert METHODS["EASE"].widths(None) == (None,)
    assert factors("BPR", "BPR.dim=3").widths(None) == (3,)
