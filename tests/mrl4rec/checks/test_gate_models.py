"""Facts of model folders and of results: each breaks by what is planted, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from mrl4rec.checks.gate.model_facts import (
    effective_rank,
    result_facts,
    sequential_facts,
    spread,
    vector_facts,
)
from mrl4rec.core import tensor_file
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.kernels.csr import csr
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import ModelCard, card
from mrl4rec.models.scorers import (
    CountModel,
    FactorModel,
    ItemItemModel,
    MixtureModel,
    Scorer,
)
from mrl4rec.tables import RESULTS_SUITE, VECTOR_SUITES, Suite
from tests.mrl4rec.models.sequential.sequence_samples import looked

U, N, D = 12, 9, 8
USERS = np.array([f"u{n}" for n in range(U)], dtype=object)
ITEMS = np.array([f"i{n}" for n in range(N)], dtype=object)
SEEN = csr(np.arange(U), np.arange(U) % N, U, N)


def broken(suite: Suite, facts: dict[str, float]) -> set[str]:
    """Names of the expectations not met; one whose fact is missing is not met either."""
    names = set()
    for expectation in suite.expectations:
        low, high = expectation.limits({})
        seen = facts.get(expectation.fact, float("nan"))
        if not ((low is None or seen >= low) and (high is None or seen <= high)):
            names.add(expectation.name)
    return names


# -------------------------------------------------------------------------------------- vectors


def factors(**changed: Any) -> FactorModel:
    rng = np.random.default_rng(0)
    vectors = {
        "user_vectors": rng.normal(size=(U, D)).astype(np.float32),
        "item_vectors": rng.normal(size=(N, D)).astype(np.float32),
    }
    return FactorModel(**{**vectors, "widths": (4, 8), **changed})


def mixture(**changed: Any) -> MixtureModel:
    rng = np.random.default_rng(0)
    parts = {
        "user_concepts": rng.normal(size=(U, 2, D)).astype(np.float32),
        "item_vectors": rng.normal(size=(N, D)).astype(np.float32),
        "mixing": rng.dirichlet(np.ones(2), N).astype(np.float32),
    }
    return MixtureModel(**{**parts, **changed})


def saved(folder: Path, model: Scorer) -> Path:
    made = ModelCard("k" * 64, "d", {"name": "X"}, "X")
    return model_folder.save(folder / "model", model, made, (USERS, ITEMS), SEEN)


def rewrite(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Change the arrays of a folder and sign the card anew: a fault that no checksum shows."""
    path = folder / model_folder.MODEL
    tensors = {name: np.array(tensor) for name, tensor in tensor_file.read(path).items()}
    change(tensors)
    tensor_file.write(path, tensors)
    signed = model_folder.read_card(folder)
    (folder / card.CARD).unlink()
    card.write_card(folder, signed)


MODELS: dict[str, Callable[[], Scorer]] = {
    "factors": factors,
    "item_item": lambda: ItemItemModel(np.eye(N, k=1, dtype=np.float32), SEEN),
    "counts": lambda: CountModel(np.arange(N), U),
    "mixture": mixture,
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_good_model_of_each_kind_breaks_nothing(tmp_path: Path, kind: str) -> None:
    model = MODELS[kind]()
    facts = vector_facts(saved(tmp_path, model), USERS, ITEMS).facts
    assert broken(VECTOR_SUITES[model.kind], facts) == set()


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (factors(user_vectors=np.ones((U, D), np.float32)), {"users_spread", "users_rank"}),
        (
            factors(item_vectors=np.outer(np.arange(1, N + 1), np.arange(D)).astype(np.float32)),
            {"items_rank"},
        ),
        (
            factors(item_vectors=np.zeros((N, D), np.float32)),
            {"not_zero", "items_spread", "items_rank"},
        ),
        (mixture(user_concepts=np.ones((U, 2, D), np.float32)), {"users_spread", "users_rank"}),
        (mixture(mixing=np.full((N, 2), 0.4, np.float32)), {"shares"}),
        (ItemItemModel(np.eye(N, dtype=np.float32), SEEN), {"diagonal_zero"}),
        (ItemItemModel(csr_matrix(np.eye(N, dtype=np.float32)), SEEN), {"diagonal_zero"}),
        (ItemItemModel(np.zeros((N, N), np.float32), SEEN), {"not_zero"}),
        (CountModel(np.arange(N) - 1, U), {"counts_not_negative"}),
        (CountModel(np.zeros(N, dtype=np.int64), U), {"not_zero"}),
    ],
    ids=["equal users", "items on a line", "zero items", "equal mixtures", "shares", "ease loop",
         "sparse loop", "zero weights", "negative count", "zero counts"],
)  # fmt: skip
def test_a_model_that_says_nothing_breaks_its_own_expectations(
    tmp_path: Path, model: Scorer, wanted: set[str]
) -> None:
    facts = vector_facts(saved(tmp_path, model), USERS, ITEMS).facts
    assert broken(VECTOR_SUITES[model.kind], facts) == wanted


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    folder = saved(tmp_path, factors())

    def spoil(tensors: dict[str, np.ndarray]) -> None:
        tensors["user_vectors"][3, :2] = np.nan, np.inf

    rewrite(folder, spoil)
    facts = vector_facts(folder, USERS, ITEMS).facts
    assert facts["values_not_finite"] == 2
    assert broken(VECTOR_SUITES["factors"], facts) == {"finite", "folder_whole"}


FEW = Suite("vectors", ("models",), VECTOR_SUITES["sequential"].expectations[-5:])
"""What is expected of the vectors themselves."""


@pytest.mark.parametrize(
    ("cosine", "wanted"), [(0.0, set()), (0.94, set()), (0.96, {"interests_differ"})]
)
def test_a_users_vectors_are_held_against_the_limit_of_their_mean_cosine(
    cosine: float, wanted: set[str]
) -> None:
    """Two vectors a user at exactly this cosine, in directions of the user's own."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(U, D, D)))[0]
    second = cosine * axes[:, 0] + np.sqrt(1 - cosine**2) * axes[:, 1]
    facts = sequential_facts(looked(np.stack([axes[:, 0], second], 1), rng.normal(size=(U, D))))
    assert facts["mean_cosine"] == pytest.approx(cosine, abs=1e-6)
    assert broken(FEW, facts) == wanted


@pytest.mark.parametrize(
    ("vectors", "items", "wanted"),
    [
        (np.ones((U, 3, D)), None, {"users_spread", "users_rank", "interests_differ"}),
        (None, np.ones((U, D)), {"items_spread", "items_rank"}),
        (np.random.default_rng(1).normal(size=(U, 1, D)), None, set()),
    ],
    ids=["equal users", "equal items", "one vector a user"],
)
def test_vectors_of_sequential_models_that_say_nothing(
    vectors: np.ndarray | None, items: np.ndarray | None, wanted: set[str]
) -> None:
    rng = np.random.default_rng(0)
    users = rng.normal(size=(U, 3, D)) if vectors is None else vectors
    facts = sequential_facts(looked(users, rng.normal(size=(U, D)) if items is None else items))
    assert broken(FEW, facts) == wanted


def test_vectors_of_nothing_but_nan_are_judged_to_the_end(tmp_path: Path) -> None:
    """Every expectation gives an answer, so that the verdict is final."""
    folder = saved(tmp_path, factors())

    def spoil(tensors: dict[str, np.ndarray]) -> None:
        tensors["user_vectors"][:] = np.nan

    rewrite(folder, spoil)
    facts = vector_facts(folder, USERS, ITEMS).facts
    assert {e.fact for e in VECTOR_SUITES["factors"].expectations} <= facts.keys()
    assert {"finite", "users_spread", "users_rank"} <= broken(VECTOR_SUITES["factors"], facts)


def test_shapes_are_held_against_the_card(tmp_path: Path) -> None:
    folder = saved(tmp_path, factors())

    def cut(tensors: dict[str, np.ndarray]) -> None:
        tensors["item_vectors"] = np.ascontiguousarray(tensors["item_vectors"][:-1])

    rewrite(folder, cut)
    measured = vector_facts(folder, USERS, ITEMS)
    assert "shapes" in broken(VECTOR_SUITES["factors"], measured.facts)
    assert "item_vectors has 8 rows, 9 are wanted" in measured.notes["shapes_amiss"]


def test_ids_of_other_users_or_in_another_order_are_noticed(tmp_path: Path) -> None:
    folder = saved(tmp_path, factors())
    assert vector_facts(folder, USERS[::-1], ITEMS).facts["ids_amiss"] == 1
    facts = vector_facts(folder, USERS[:-1], ITEMS[:-1]).facts
    assert broken(VECTOR_SUITES["factors"], facts) >= {"ids", "shapes"}


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    folder = saved(tmp_path, factors())
    path = folder / model_folder.MODEL
    body = bytearray(path.read_bytes())
    body[-2] ^= 1
    path.write_bytes(body)
    measured = vector_facts(folder, USERS, ITEMS)
    assert "folder_whole" in broken(VECTOR_SUITES["factors"], measured.facts)
    assert "digest differs" in measured.notes["folder_amiss"]


def test_a_truncated_folder_has_no_other_facts(tmp_path: Path) -> None:
    folder = saved(tmp_path, factors())
    (folder / model_folder.MODEL).write_bytes(b"")
    assert vector_facts(folder, USERS, ITEMS).facts == {"folder_amiss": 1}
    (folder / card.CARD).unlink()
    with pytest.raises(Mrl4recError):
        vector_facts(folder, USERS, ITEMS)


def test_effective_rank_of_known_spectra() -> None:
    """Rows ±e_1, ±e_2, …: all directions alike, rank d; a ratio a:b of squares by hand."""
    axes = np.concatenate([np.eye(4), -np.eye(4)])
    assert effective_rank(axes) == pytest.approx(4)
    shares = np.array([0.9, 0.1])
    uneven = np.diag(np.sqrt(shares))
    both = np.concatenate([uneven, -uneven])
    assert effective_rank(both) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert effective_rank(np.full((5, 3), 0.1)) == 0
    assert effective_rank(axes + 100) == pytest.approx(4)  # about the mean, wherever that lies


def test_vectors_of_one_dimension_are_allowed_to_be_a_line(tmp_path: Path) -> None:
    ramp = np.arange(1, U + 1, dtype=np.float32)[:, None]
    model = FactorModel(ramp, ramp[:N], widths=(1,))
    facts = vector_facts(saved(tmp_path, model), USERS, ITEMS).facts
    assert broken(VECTOR_SUITES["factors"], facts) == set()


def test_spread_of_known_rows() -> None:
    """Two rows 1 and 3: distance from the mean 2 is 1 each, their own squares 1 + 9."""
    assert spread(np.array([[1.0], [3.0]])) == pytest.approx(np.sqrt(2 / 10))
    assert spread(np.array([[1.0, 2.0]] * 3)) == 0
    assert spread(np.zeros((3, 2))) == 0


# -------------------------------------------------------------------------------------- results

PER_USER = pd.DataFrame({
    "user_idx": [0, 1] * 4,
    "width": [4, 4, 4, 4, 8, 8, 8, 8],
    "k": [10, 10, 20, 20] * 2,
    "recall": [0.0, 0.5, 0.5, 0.5, 0.25, 0.75, 0.5, 1.0],
    "hr": [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    "ndcg": [0.0, 0.4, 0.2, 0.4, 0.3, 0.5, 0.3, 0.4],
})  # fmt: skip
ROWS = pd.DataFrame(
    [
        ("recall", 10, 4, 0.25), ("recall", 20, 4, 0.5), ("recall", 10, 8, 0.5),
        ("recall", 20, 8, 0.75), ("hr", 10, 4, 0.5), ("hr", 20, 4, 1.0), ("hr", 10, 8, 1.0),
        ("hr", 20, 8, 1.0), ("ndcg", 10, 4, 0.2), ("ndcg", 20, 4, 0.3), ("ndcg", 10, 8, 0.4),
        ("ndcg", 20, 8, 0.35), ("coverage", 10, 4, 0.1),
    ],
    columns=["metric", "k", "width", "value"],
)  # fmt: skip
ASKED = [(metric, k, width) for metric, k, width, _ in ROWS.itertuples(index=False)]


def value(metric: str, k: int, width: int, new: float) -> pd.DataFrame:
    at = (ROWS["metric"] == metric) & (ROWS["k"] == k) & (ROWS["width"] == width)
    return ROWS.assign(value=ROWS["value"].where(~at, new))


def test_results_that_hold_together(tmp_path: Path) -> None:
    """ndcg may fall with k (.4 → .35 at width 8): its ideal grows."""
    assert broken(RESULTS_SUITE, result_facts(ROWS, PER_USER, ASKED, 2).facts) == set()


@pytest.mark.parametrize(
    ("rows", "per_user", "users", "wanted"),
    [
        (ROWS.iloc[:0], PER_USER, 2, {"not_empty", "all_asked"}),
        (value("coverage", 10, 4, 1.0), PER_USER, 2, set()),
        (value("coverage", 10, 4, 1.0000001), PER_USER, 2, {"values_in_range"}),
        (value("coverage", 10, 4, -1e-9), PER_USER, 2, {"values_in_range"}),
        (value("coverage", 10, 4, np.nan), PER_USER, 2, {"values_in_range", "means_true"}),
        (value("recall", 20, 4, 0.25), PER_USER, 2, {"means_true"}),
        (value("recall", 20, 4, 0.24), PER_USER, 2, {"means_true", "grow_with_k"}),
        (value("ndcg", 10, 4, 0.2 + 9e-7), PER_USER, 2, set()),
        (value("ndcg", 10, 4, 0.2 + 2e-6), PER_USER, 2, {"means_true"}),
        (ROWS.iloc[:-1], PER_USER, 2, {"all_asked"}),
        (pd.concat([ROWS, ROWS.iloc[-1:]]), PER_USER, 2, {"none_twice"}),
        (ROWS, PER_USER, 3, {"users_counted"}),
        (ROWS, PER_USER, 1, {"users_counted"}),
        (ROWS, PER_USER.iloc[1:], 2, {"users_counted", "means_true"}),
    ],
)
def test_each_expectation_of_results_breaks_by_its_own_fault(
    rows: pd.DataFrame, per_user: pd.DataFrame, users: int, wanted: set[str]
) -> None:
    assert broken(RESULTS_SUITE, result_facts(rows, per_user, ASKED, users).facts) == wanted


def test_models_without_widths_are_judged_by_their_one_place() -> None:
    """Width null, as for EASE, in rows, in the users' values and in what is asked."""
    rows = ROWS[ROWS["width"] == 8].assign(width=None)
    per_user = PER_USER[PER_USER["width"] == 8].assign(width=None)
    asked = [(metric, k, None) for metric, k, width in ASKED if width == 8]
    assert broken(RESULTS_SUITE, result_facts(rows, per_user, asked, 2).facts) == set()


def test_notes_name_what_is_missing_and_what_falls() -> None:
    fallen = value("recall", 20, 4, 0.24)
    notes = result_facts(fallen.iloc[:-1], PER_USER, ASKED, 2).notes
    assert "('coverage', 10, 4)" in notes["cells_missing"]
    assert "k=20: 0.24" in notes["falls_with_k"]
    assert replace(result_facts(ROWS, PER_USER, ASKED, 2)).frame().shape[0] == 1
