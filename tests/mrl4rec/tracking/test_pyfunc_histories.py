"""A request with a history gets the list that the batch ranking has for it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from mrl4rec.data.sequences import histories
from mrl4rec.evaluation.ranking import recommend
from mrl4rec.models import model_folder
from mrl4rec.models.histories import bound
from mrl4rec.models.last_item import transitions
from mrl4rec.models.scorers import CountModel, ItemItemModel
from mrl4rec.tracking import pyfunc
from tests.mrl4rec.models.model_samples import ids, real_factors, saved, sparse, with_more
from tests.mrl4rec.models.sequential.sequence_samples import N_ITEMS, untrained, walks

ROWS = [*walks(20), []]
HAD = histories(ROWS, N_ITEMS)
SEEN = HAD.csr()
CONSUMED = with_more(SEEN, (0, (ROWS[0][-1] + 1) % N_ITEMS), (20, 3))
USERS, ITEMS = ids(len(ROWS), N_ITEMS)
NAMES = ("YouTubeDNN", "ComiRec-SA", "SASRec", "LastItem", "weights")


def model_of(name: str) -> Any:
    if name == "LastItem":
        return ItemItemModel(transitions(HAD, 1), HAD.newest(1).csr(), last=1)
    if name == "weights":
        weights = np.random.default_rng(0).normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32)
        return ItemItemModel(weights, SEEN)
    return untrained(name, ROWS, N_ITEMS)


def folder_of(at: Path, model: Any) -> Path:
    method = getattr(model, "method", None)
    known = {"method": method.as_dict(), "method_name": method.name} if method else {}
    return saved(at, model, SEEN, CONSUMED, **known)


@pytest.fixture(scope="module", params=NAMES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = folder_of(tmp_path_factory.mktemp("m") / "model", model_of(request.param))
    at = pyfunc.save(folder, tmp_path_factory.mktemp("p") / "served")
    return mlflow.pyfunc.load_model(str(at)), model_folder.load(folder)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    folder = folder_of(tmp_path_factory.mktemp("m") / "model", model_of("ComiRec-SA"))
    at = pyfunc.save(folder, tmp_path_factory.mktemp("p") / "served")
    return TestClient(scoring_server.init(mlflow.pyfunc.load_model(str(at))))


def named(row: list[int]) -> list[str]:
    return [str(ITEMS[item]) for item in row]


def listed(answer: pd.DataFrame, row: int) -> list[tuple[str, float]]:
    own = answer[answer["row"] == row]
    return list(zip(own["item_id"], own["score"], strict=True))


def batch(loaded: Any, rows: list[list[int]], n: int) -> list[list[tuple[str, float]]]:
    """The lists of all these histories, by the ranking that evaluates."""
    had = histories(rows, N_ITEMS)
    items, scores = recommend(bound(loaded.model, had), np.arange(len(rows)), had.csr(), n)
    return [
        [(str(ITEMS[item]), score) for item, score in zip(*pair, strict=True) if item >= 0]
        for pair in zip(items, scores.astype(float), strict=True)
    ]


def test_each_history_has_the_list_of_the_batch_ranking(served: Any) -> None:
    loaded_by_mlflow, loaded = served
    rows = [*walks(130, seed=3), [5], [5, 5, 5], [*range(40)]]
    wanted = batch(loaded, rows, 12)
    for some in ([0], [7, 131], [*range(len(rows))]):  # alone, or among others
        asked = pd.DataFrame({"history": [named(rows[row]) for row in some]})
        answer = loaded_by_mlflow.predict(asked, params={"n": 12})
        assert answer["known"].all()
        assert not answer["left_out"].any()
        assert [listed(answer, at) for at in range(len(some))] == [wanted[row] for row in some]
        assert answer["rank"].tolist() == [*range(1, 13)] * len(some)


def test_order_and_repeats_are_read(served: Any) -> None:
    loaded_by_mlflow, loaded = served
    rows = [[3, 14, 15], [15, 14, 3], [3, 3, 3, 3, 14, 15]]
    answer = loaded_by_mlflow.predict(pd.DataFrame({"history": [named(row) for row in rows]}))
    assert [listed(answer, at) for at in range(3)] == batch(loaded, rows, 10)
    in_order = not isinstance(loaded.model, ItemItemModel) or loaded.model.last > 0
    if in_order and not getattr(loaded.model, "method", None):  # the newest item alone
        assert listed(answer, 0) != listed(answer, 1)


def test_users_and_histories_in_one_request(served: Any) -> None:
    loaded_by_mlflow, loaded = served
    asked = pd.DataFrame(
        {
            "user_id": [USERS[0], USERS[0], None, USERS[20], "nobody"],
            "history": [None, named([1, 2]), named([1, 2]), None, named([1, 2])],
        }
    )
    answer = loaded_by_mlflow.predict(asked, params={"n": N_ITEMS})
    by_id = loaded_by_mlflow.predict(asked[["user_id"]].iloc[:1], params={"n": N_ITEMS})
    assert "left_out" not in by_id
    assert [(item, score) for item, score in by_id[["item_id", "score"]].to_numpy().tolist()] == (
        listed(answer, 0)
    )
    (own,) = batch(loaded, [[1, 2]], N_ITEMS)
    assert listed(answer, 2) == listed(answer, 4) == own
    had = {*named([int(item) for item in CONSUMED.row(0)])}
    assert listed(answer, 1) == [pair for pair in own if pair[0] not in had]
    assert not had & {item for item, _ in listed(answer, 0)}
    assert answer.groupby("row")["known"].first().tolist() == [True, True, True, False, True]
    assert ITEMS[3] not in {item for item, _ in listed(answer, 3)}
    assert answer[answer["row"] == 2]["user_id"].isna().all()


def test_unknown_items_are_left_out_and_counted(served: Any) -> None:
    loaded_by_mlflow, loaded = served
    rows = [["new", *named([1]), "newer", *named([2])], ["new"], []]
    answer = loaded_by_mlflow.predict(pd.DataFrame({"history": rows}))
    assert listed(answer, 0) == batch(loaded, [[1, 2]], 10)[0]
    assert answer.groupby("row")["left_out"].first().tolist() == [2, 1, 0]
    assert answer.groupby("row")["known"].first().tolist() == [True, False, False]
    popular = CountModel(np.bincount(SEEN.indices, minlength=N_ITEMS), 1)
    items, _ = recommend(popular, np.array([0]), histories([[]], N_ITEMS).csr(), 10)
    assert [item for item, _ in listed(answer, 1)] == named(items[0].tolist())
    assert listed(answer, 2) == listed(answer, 1)


BAD: list[Any] = ["7", 7, [["7"]], ["7", None], [None], {"7": 1}, [1.5], [True]]


@pytest.mark.parametrize("history", BAD, ids=str)
def test_a_server_refuses_what_is_no_history(app: TestClient, history: Any) -> None:
    body = {"dataframe_records": [{"user_id": USERS[0]}, {"history": history}]}
    done = app.post("/invocations", json=body)
    assert (done.status_code, "stack_trace" in done.json()) == (400, False)
    assert "history: row 1" in done.json()["message"]


def test_a_server_answers_records_with_either(app: TestClient) -> None:
    body = {"dataframe_records": [{"user_id": USERS[0]}, {"history": named([1, 2])}]}
    done = app.post("/invocations", json={**body, "params": {"n": 2}})
    assert [row["row"] for row in done.json()["predictions"]] == [0, 0, 1, 1]
    for rows in ([{"user_id": None, "history": None}], [{"basket": ["7"]}]):
        done = app.post("/invocations", json={"dataframe_records": rows})
        assert done.status_code == 400
        assert "user_id" in done.json()["message"]


def test_the_page_on_serving_shows_a_history_that_is_answered(app: TestClient) -> None:
    page = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
    (body,) = re.findall(r"curl [^`]*-d '([^']*\"history\"[^']*)'", page)
    done = app.post("/invocations", content=body, headers={"content-type": "application/json"})
    answer = [(row["row"], row["left_out"]) for row in done.json()["predictions"]]
    assert answer == [(0, 3), (0, 3), (1, 0), (1, 0)]


def test_a_model_without_histories_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = sparse(rng, 10, 30, 80)
    for number, model in enumerate((real_factors(rng, 10, 30, 8), CountModel(np.ones(30), 10))):
        top = pyfunc._load_pyfunc(str(saved(tmp_path / str(number), model, seen)))
        with pytest.raises(MlflowException, match=r"^history: .*SASRec") as refused:
            top.predict(pd.DataFrame({"history": [["7"]]}))
        assert refused.value.get_http_status_code() == 400


@pytest.mark.slow
def test_a_real_server_answers_a_history(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", model_of("ComiRec-SA"))
    at = pyfunc.save(folder, tmp_path / "served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(at)]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(command, start_new_session=True, env={**os.environ, "PATH": path})
    try:
        rows = [[1, 2, 3], [40]]
        body = {"dataframe_split": {"columns": ["history"], "data": [[named(r)] for r in rows]}}
        answer = pd.DataFrame(_post(server, port, body)["predictions"])
        wanted = batch(model_folder.load(folder), rows, 10)
        assert [[item for item, _ in listed(answer, at)] for at in range(2)] == [
            [item for item, _ in one] for one in wanted
        ]
    finally:
        _stop(server)


def _post(server: subprocess.Popen[bytes], port: int, body: dict[str, Any]) -> Any:
    """The answer, once the server listens."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    while server.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """The server and the processes it started."""
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(timeout=60)
