"""The Python API: what a notebook gets is what the pipeline makes, and mistakes are named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mrl4rec as mr
from jobs import ingest, kcore, split
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.data import interactions
from mrl4rec.formats.options import ReadOptions

NAMES = {"user": "who", "item": "what", "rating": "stars", "time": "at"}


def frame(n_users: int = 40, n_items: int = 30, seed: int = 3) -> pd.DataFrame:
    """Users who like items of their own third, a few rows twice."""
    rng = np.random.default_rng(seed)
    likes = np.where(np.arange(n_users)[:, None] % 3 == np.arange(n_items) % 3, 0.7, 0.08)
    users, items = (rng.random((n_users, n_items)) < likes).nonzero()
    rows = pd.DataFrame(
        {
            "who": [f"u{user}" for user in users],
            "what": [f"i {item}" for item in items],
            "stars": rng.integers(1, 6, len(users)).astype(float),
            "at": 1_400_000_000 + rng.permutation(len(users)),
        }
    )
    return pd.concat([rows, rows[:5]], ignore_index=True)


def dataset() -> mr.Dataset:
    return mr.Dataset.from_frame(frame(), **NAMES)


@pytest.fixture(scope="module")
def parts() -> tuple[interactions.Interactions, interactions.Interactions]:
    return dataset().split("random", seed=0)


@pytest.fixture(scope="module")
def ease(parts: tuple[interactions.Interactions, interactions.Interactions]) -> mr.Model:
    return mr.EASE(lam=5.0).fit(parts[0])


def pairs(given: interactions.Interactions, *folds: str) -> set[tuple[str, str]]:
    users, items = given.pairs(*folds)
    return set(zip(given.user_ids[users], given.item_ids[items], strict=True))


@pytest.mark.parametrize("strategy", ["random", "per_user_random", "last_out", "global_time"])
def test_a_split_is_the_pipelines(strategy: str, settings: Settings, tmp_path: Path) -> None:
    dump = tmp_path / "dump.csv"
    frame().to_csv(dump, index=False)
    asked = ingest.IngestRequest("d", (dump,), ReadOptions(columns=NAMES))
    done = ingest.run(asked, settings)
    core = kcore.run("d", done, k=3, min_rating=2.0, settings=settings)
    made = split.run("d", core, strategy=strategy, split_seed=7, settings=settings)
    wanted = interactions.load(settings, "d", made)
    train, test = dataset().core(3, min_rating=2.0).split(strategy, seed=7)
    for fold in ("train", "valid"):
        assert pairs(train, fold) == pairs(wanted, fold)
        assert not pairs(test, fold)
    assert pairs(test, "test") == pairs(wanted, "test")
    assert not pairs(train, "test")


@pytest.mark.parametrize("kind", ["arrow", "polars", "file"])
def test_any_kind_of_frame_and_a_file_are_the_same(kind: str, tmp_path: Path) -> None:
    rows = frame()
    wanted = [part.digest() for part in dataset().split()]
    given: object = pa.Table.from_pandas(rows)
    if kind == "polars":
        given = pytest.importorskip("polars").from_pandas(rows)
    elif kind == "file":
        given = tmp_path / "rows.csv"
        rows.to_csv(given, index=False)
    assert [p.digest() for p in mr.Dataset.from_frame(given, **NAMES).split()] == wanted  # type: ignore[arg-type]


def test_rows_that_cannot_be_used_are_kept_aside() -> None:
    rows = frame()
    rows.loc[3, "who"] = ""
    rows.loc[9, "what"] = None
    with pytest.warns(UserWarning, match="no_user"):
        data = mr.Dataset.from_frame(rows, **NAMES)
    assert data.quarantined["record_no"].tolist() == [3, 9]
    assert len(data) == len(rows) - 2


def test_lists_leave_out_what_was_trained_on(
    ease: mr.Model, parts: tuple[interactions.Interactions, interactions.Interactions]
) -> None:
    train, _ = parts
    lists = ease.recommend(["u0", "u7"], n=4)
    assert lists.columns.tolist() == ["user", "rank", "item", "score"]
    assert lists["user"].tolist() == ["u0"] * 4 + ["u7"] * 4
    assert lists["rank"].tolist() == [1, 2, 3, 4] * 2
    assert (np.diff(lists["score"].to_numpy()[:4]) <= 0).all()
    had = pairs(train, "train", "valid")
    assert not had & set(zip(lists["user"], lists["item"], strict=True))
    pd.testing.assert_frame_equal(ease.recommend("u0", n=4), lists[:4])
    everything = ease.recommend(["u0"], n=1000)
    assert len(everything) == train.n_items - sum(user == "u0" for user, _ in had)


def test_metrics_by_hand(
    ease: mr.Model, parts: tuple[interactions.Interactions, interactions.Interactions]
) -> None:
    test = pairs(parts[1], "test")
    users = sorted({user for user, _ in test})
    lists = ease.recommend(users, n=5)
    hits = lists[[pair in test for pair in zip(lists["user"], lists["item"], strict=True)]]
    found = hits.groupby("user").size().reindex(users, fill_value=0)
    had = pd.Series({user: sum(u == user for u, _ in test) for user in users})
    measured = mr.evaluate(ease, parts[1], k=(5,)).set_index("metric")
    assert measured.loc["recall", "value"] == pytest.approx((found / had).mean())
    assert measured.loc["recall", "low"] < measured.loc["recall", "value"]
    assert measured.loc["recall", "value"] < measured.loc["recall", "high"]
    assert measured["width"].isna().all()


def test_nested_vectors_are_cut_saved_and_loaded(
    parts: tuple[interactions.Interactions, interactions.Interactions], tmp_path: Path
) -> None:
    model = mr.MRL(levels=(2, 8), batch=32, lr=0.02, epochs=6, sampler=mr.DNS(4)).fit(parts[0])
    measured = mr.evaluate(model, parts[1], k=(5,), metrics=("ndcg",))
    assert measured["width"].tolist() == [2, 8]
    narrow = mr.evaluate(model, parts[1], k=(5,), metrics=("ndcg",), widths=(2,))
    assert narrow["value"].tolist() == measured["value"].tolist()[:1]
    again = mr.load(model.save(tmp_path / "model"))
    assert again.card == model.card
    for width in (None, 2):
        pd.testing.assert_frame_equal(
            again.recommend(["u1"], 5, width=width), model.recommend(["u1"], 5, width=width)
        )
    same = mr.MRL(levels=(2, 8), batch=32, lr=0.02, epochs=6, sampler=mr.DNS(4)).fit(parts[0])
    pd.testing.assert_frame_equal(same.recommend(["u1"], 5), model.recommend(["u1"], 5))
    cosine = model.similar_items(["i 0"], 3)
    vectors = model.loaded.model.item_vectors  # type: ignore[attr-defined]
    names = model.loaded.ids.item_ids.tolist()
    one, other = (vectors[names.index(name)] for name in ("i 0", cosine["similar"][0]))
    expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert cosine["score"][0] == pytest.approx(expected, rel=1e-5)
    assert "i 0" not in set(cosine["similar"])


def test_similar_items_by_weights(ease: mr.Model) -> None:
    weights = ease.loaded.model.weights  # type: ignore[attr-defined]
    names = ease.loaded.ids.item_ids.tolist()
    (best,) = ease.similar_items(["i 4"], 1).itertuples()
    row = np.asarray(weights)[names.index("i 4")].copy()
    row[names.index("i 4")] = -np.inf
    assert best.similar == names[int(row.argmax())]
    assert best.score == pytest.approx(row.max())


def test_a_model_does_not_differ_from_itself(
    ease: mr.Model, parts: tuple[interactions.Interactions, interactions.Interactions]
) -> None:
    train, test = parts
    (row,) = mr.compare(ease, ease, test, metrics=("recall",)).itertuples()
    assert (row.difference, row.p) == (0.0, 1.0)
    popular = mr.Model("Pop").fit(train)
    (row,) = mr.compare(ease, popular, test, k=5, metrics=("ndcg",)).itertuples()
    assert row.difference == pytest.approx(row.a - row.b)
    assert row.low <= row.difference <= row.high


def test_a_leaderboard_ranks_and_tests_against_the_best(
    ease: mr.Model, parts: tuple[interactions.Interactions, interactions.Interactions]
) -> None:
    train, test = parts
    models = {"counts & co": mr.Model("Pop").fit(train), "EASE": ease, "again": ease}
    board = mr.leaderboard(models, test, k=5)
    assert board["model"].tolist() == ["EASE", "again", "counts & co"]
    assert board["tied"].tolist() == [True, True, False]
    measured = mr.evaluate(ease, test, k=(5,)).set_index("metric")
    for metric in ("recall", "ndcg"):
        for column, name in (("value", ""), ("low", " low"), ("high", " high")):
            assert board.loc[0, f"{metric}@5{name}"] == pytest.approx(measured.loc[metric, column])
    latex = mr.to_latex(board, caption="50 % of it")
    assert latex.count(r"\\") == 4
    assert latex.count(r"\textbf") == 4  # twice the best in two columns
    assert [line for line in latex.splitlines() if "dagger" in line and "&" in line] == [
        line for line in latex.splitlines() if line.startswith("again")
    ]
    assert r"counts \& co" in latex
    assert r"50 \% of it" in latex


def test_rotation_keeps_scores_and_gives_the_best_prefixes(
    parts: tuple[interactions.Interactions, interactions.Interactions],
) -> None:
    model = mr.IALS(dim=8, sweeps=3).fit(parts[0])
    turned = model.rotated()
    plain, rotated = (each.loaded.model for each in (model, turned))
    users = np.arange(plain.n_users)
    scores = plain.scores(users)
    np.testing.assert_allclose(rotated.scores(users), scores, atol=1e-4)
    for width in (2, 4):
        errors = [np.square(each.scores(users, width) - scores).sum() for each in (rotated, plain)]
        assert errors[0] <= errors[1]


def test_a_data_set_of_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRL4REC_DOWNLOADS", str(tmp_path))
    with pytest.warns(UserWarning, match="quarantined"):
        data = mr.Dataset.from_catalog("planted")
    assert (len(data) > 60_000, data.k) == (True, 5)


def untimed() -> mr.Dataset:
    return mr.Dataset.from_frame(frame()[["who", "what"]], user="who", item="what")


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        (lambda: mr.Dataset.from_frame(frame(), user="whom"), "whom"),
        (lambda: mr.Dataset.from_frame(frame(), **NAMES, time_unit="fortnights"), "fortnights"),
        (lambda: dataset().core(-1), "-1"),
        (lambda: dataset().split("randomly"), "random"),
        (lambda: dataset().split(test_share=1.5), "1.5"),
        (lambda: dataset().split("since"), "since"),
        (
            lambda: mr.Dataset.from_frame(frame()[["who", "what"]], user="who", item="what").split(
                "last_out"
            ),
            "time",
        ),
        (lambda: mr.Dataset.from_frame([("u1", "i1")]), "list"),
        (lambda: mr.Dataset.from_frame(frame(), user="who", timeunit="s"), "time_unit"),
        (lambda: mr.Dataset.from_frame(pd.DataFrame({"a": ["x"], "b": ["y"]})), "user='"),
        (lambda: dataset().core(500).split(), "500"),
        (lambda: mr.EASE().fit(dataset()), "Dataset"),
        (lambda: mr.MRL(levels=(8, 4)), "levels"),
        (lambda: mr.Model("EASY"), "EASE"),
        (lambda: mr.EASE(lambda_=3), "lam"),
        (lambda: mr.EASE(lam=-3.0), "lam"),
        (lambda: mr.EASE().recommend(["u1"]), "EASE"),
        (lambda: mr.Dataset.from_catalog("ml-100"), "ml-100k"),
        (lambda: dataset().split("random", sequences=True), "random"),
        (lambda: mr.SASRec().fit(dataset().split("last_out")[0]), "SASRec"),
        (lambda: mr.EASE().recommend(), "histories"),
        (lambda: mr.EASE().recommend(histories=[["i 1"]]), "EASE"),
        (lambda: mr.leaderboard({}, dataset().split()[1]), "model"),
        (lambda: mr.Model("RecentPop").fit(untimed().split()[0]), "times"),
        (lambda: dataset().split("since", since="2014-05-01"), "2014"),
        (lambda: dataset().split(seed=1.5), "1.5"),
        (lambda: mr.SASRec(dim="16"), "dim"),
        (lambda: mr.SASRec(lr="x"), "lr"),
        (lambda: mr.MTMI(interests=1.5), "interests"),
        (lambda: mr.MTMI(item_tower=3), "item_tower"),
        (lambda: mr.SASRec(levels=(4, 8)), "levels"),
        (lambda: mr.MRL(levels=(4,), seed="x").fit(dataset().split()[0]), "seed"),
        (lambda: mr.Dataset.from_frame(pd.concat([frame(), frame()], axis=1)), "columns"),
    ],
)
def test_mistakes_are_named(mistake: object, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        mistake()  # type: ignore[operator]


def test_mistakes_of_use_are_named(
    ease: mr.Model,
    parts: tuple[interactions.Interactions, interactions.Interactions],
    settings: Settings,
) -> None:
    with pytest.raises(UsageError, match="nobody"):
        ease.recommend(["u1", "nobody"])
    with pytest.raises(UsageError, match="width"):
        ease.recommend(["u1"], width=4)
    with pytest.raises(UsageError, match="counts"):
        mr.Model("Pop").fit(parts[0]).similar_items(["i 1"])
    other = mr.Dataset.from_frame(frame(20, 10), **NAMES).split()[1]
    with pytest.raises(UsageError):
        mr.evaluate(ease, other)
    with pytest.raises(UsageError, match="vectors"):
        ease.rotated()
    with pytest.raises(UsageError, match="coverage"):
        mr.compare(ease, ease, parts[1], metrics=("coverage",))
    with pytest.raises(UsageError, match="warehouse"):
        mr.Warehouse(settings.warehouse).leaderboard()
    with pytest.raises(AttributeError):
        _ = mr.nothing


def test_every_line_of_the_page_runs(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a frame of the page's columns, with fewer epochs."""
    text = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) == 7
    monkeypatch.chdir(tmp_path)
    names = {"who": "user_id", "what": "item_id", "at": "timestamp"}
    rows = frame().rename(columns=names).replace({"u0": "196", "u1": "186", "i 0": "50"})
    known = {"frame": rows}
    for block in blocks[:-1]:
        exec(block.replace("64)", "64), epochs=2"), known)
    assert (tmp_path / "my-model" / "model.json").exists()
    with pytest.raises(UsageError, match="warehouse"):  # none was made here
        exec(blocks[-1], known)


def test_a_notebook_loads_nothing_of_the_pipeline(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "f.csv", index=False)
    code = f"""
import sys, pandas as pd, mrl4rec as mr
data = mr.Dataset.from_frame(pd.read_csv({str(tmp_path / "f.csv")!r}), user="who", item="what")
train, test = data.split()
model = mr.EASE().fit(train)
mr.evaluate(model, test); model.recommend(["u1"])
heavy = ("prefect", "mlflow", "great_expectations", "pyspark", "torch", "matplotlib", "optuna")
print(*(name for name in heavy if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.csv"]
