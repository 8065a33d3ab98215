"""The pyfunc, really saved and loaded by MLflow, answers what the model would."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from mrl4rec.evaluation.ranking import recommend
from mrl4rec.models import model_folder
from mrl4rec.tracking import pyfunc
from tests.mrl4rec.models.model_samples import (
    ids,
    kinds,
    real_factors,
    rows,
    saved,
    sparse,
    with_more,
)

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(4)
    model = real_factors(rng, 10, 30, 8, widths=(4, 8))
    seen = sparse(rng, 10, 30, 80)
    held_out = with_more(seen, *((user, (user + n) % 30) for user in range(10) for n in range(6)))
    return saved(tmp_path_factory.mktemp("m") / "model", model, seen, held_out)


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    saved_at = pyfunc.save(folder, tmp_path_factory.mktemp("p") / "served")
    assert not list(saved_at.rglob("*.pkl"))
    return mlflow.pyfunc.load_model(str(saved_at))


def frame(*users: str) -> pd.DataFrame:
    return pd.DataFrame({"user_id": list(users)})


def test_lists_are_the_models_own(served: Any, folder: Path) -> None:
    user_ids, item_ids = ids(10, 30)
    loaded = model_folder.load(folder)
    asked = [3, 0, 3]
    for params, n, width in (
        (None, 10, None),
        ({"n": 4}, 4, None),
        ({"n": 4, "width": 4}, 4, 4),
        ({"n": 4, "width": None}, 4, None),
    ):
        answer = served.predict(frame(*user_ids[asked]), params=params)
        items, scores = recommend(loaded.model, np.array(asked), loaded.consumed, n, width)
        assert list(answer.columns) == ["user_id", "rank", "item_id", "score", "known"]
        assert answer["user_id"].tolist() == np.repeat(user_ids[asked], n).tolist()
        assert answer["rank"].tolist() == list(range(1, n + 1)) * 3
        assert answer["item_id"].tolist() == item_ids[items.ravel()].tolist()
        assert answer["score"].tolist() == scores.ravel().tolist()
        assert answer["known"].all()


def test_an_unknown_user_gets_what_is_popular(served: Any, folder: Path) -> None:
    known = ids(10, 30)[0][2]
    answer = served.predict(frame("nobody", known, "Nil"), params={"n": 3})
    assert answer["known"].tolist() == [False] * 3 + [True] * 3 + [False] * 3
    counts = np.bincount(model_folder.load(folder).seen.indices, minlength=30)
    strangers = answer[~answer["known"]]
    assert strangers["score"].tolist() == sorted(counts)[::-1][:3] * 2
    rows = [ids(10, 30)[1].tolist().index(item) for item in strangers["item_id"]]
    assert counts[rows].tolist() == strangers["score"].tolist()


def test_a_list_ends_where_the_items_do(served: Any, folder: Path) -> None:
    consumed = model_folder.load(folder).consumed
    answer = served.predict(frame(ids(10, 30)[0][5], "nobody"), params={"n": 50})
    assert answer["known"].sum() == 30 - consumed.degrees[5]
    assert (~answer["known"]).sum() == 30
    nobody = pd.DataFrame({"user_id": np.array([], dtype=str)})
    assert pyfunc._load_pyfunc(str(folder)).predict(nobody).empty


def test_a_model_that_was_registered_long_ago_is_served(tmp_path: Path) -> None:
    """Version 1 saved it, and its answer; what is registered names its loader for good."""
    with tarfile.open(DATA / "pyfunc-v1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    wanted = pd.read_csv(tmp_path / "answer.csv")
    old = mlflow.pyfunc.load_model(str(tmp_path / "served"))
    answer = old.predict(frame(*wanted["user_id"].unique()), params={"n": 3, "width": 2})
    pd.testing.assert_frame_equal(answer, wanted, check_dtype=False, rtol=1e-6)


def test_what_a_user_is_known_to_have_had_is_left_out(served: Any, folder: Path) -> None:
    consumed, (user_ids, item_ids) = model_folder.load(folder).consumed, ids(10, 30)
    answer = served.predict(frame(*user_ids), params={"n": 30})
    for row, user in enumerate(user_ids):
        listed = answer.loc[answer["user_id"] == user, "item_id"]
        assert {*listed} == {*item_ids} - {*item_ids[consumed.row(row)]}


def test_one_whose_pairs_are_all_held_out_gets_what_is_popular(tmp_path: Path) -> None:
    seen, known = rows([], [0, 1], [0], n_items=4), rows([0, 3], [0, 1], [0], n_items=4)
    model = real_factors(np.random.default_rng(0), 3, 4, 2)
    at = saved(tmp_path / "m", model, seen, known)
    answer = pyfunc._load_pyfunc(str(at)).predict(frame(ids(3, 4)[0][0]))
    assert answer["item_id"].tolist()[0] == ids(3, 4)[1][1]
    assert (answer["score"].tolist(), answer["known"].any()) == ([1, 0], False)


BAD = {
    "n": [None, 0, -1, 2.5, "3", [1]],
    "width": [0, -4, 9, 1.5],
}


@pytest.mark.parametrize(("name", "value"), [(name, v) for name in BAD for v in BAD[name]])
def test_a_server_refuses_bad_parameters_by_name(served: Any, name: str, value: Any) -> None:
    """As `mlflow models serve` answers: 4xx with a reason, and no stack trace."""
    request = {"dataframe_split": {"columns": ["user_id"], "data": [[ids(10, 30)[0][0]]]}}
    app = TestClient(scoring_server.init(served))
    done = app.post("/invocations", json={**request, "params": {name: value}})
    assert done.status_code == 400
    assert done.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert name in done.json()["message"]
    assert "stack_trace" not in done.json()
    assert app.post("/invocations", json=request).status_code == 200


@pytest.mark.parametrize("users", [[{"user": "a"}], [{"user_id": "a"}, {"user_id": None}]], ids=str)
def test_a_server_refuses_users_without_an_id(served: Any, users: list[dict[str, Any]]) -> None:
    app = TestClient(scoring_server.init(served))
    done = app.post("/invocations", json={"dataframe_records": users})
    assert (done.status_code, "stack_trace" in done.json()) == (400, False)
    assert "user_id" in done.json()["message"]


def test_the_page_on_serving_shows_a_request_that_is_answered(served: Any) -> None:
    page = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
    body, with_history = re.findall(r"curl .*?-d '([^']*)'", page, re.S)
    app = TestClient(scoring_server.init(served))
    done = app.post("/invocations", content=body, headers={"content-type": "application/json"})
    assert done.status_code == 200
    assert [row["user_id"] for row in done.json()["predictions"]] == ["196"] * 2 + ["nobody"] * 2
    refused = app.post(
        "/invocations", content=with_history, headers={"content-type": "application/json"}
    )
    assert refused.status_code == 400  # a model of factors
    assert "history" in refused.json()["message"]


def test_the_loader_itself_refuses_too(folder: Path) -> None:
    top = pyfunc._load_pyfunc(str(folder))
    for params in ({"n": True}, {"n": "3"}, {"width": "4"}):
        with pytest.raises(MlflowException, match=next(iter(params))) as refused:
            top.predict(frame("nobody"), params)
        assert refused.value.get_http_status_code() == 400
    assert len(top.predict(frame("nobody"), {"n": 10**12})) == 30


def test_models_without_vectors_are_served_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    seen = sparse(rng, 10, 30, 80)
    for number, model in enumerate(kinds(rng, 10, 30, seen)):
        at = saved(tmp_path / str(number), model, seen)
        answer = pyfunc._load_pyfunc(str(at)).predict(frame(*ids(10, 30)[0]), {"n": 5})
        items, _ = recommend(model, np.arange(10), seen, 5)
        assert answer["item_id"].tolist() == ids(10, 30)[1][items.ravel()].tolist()
