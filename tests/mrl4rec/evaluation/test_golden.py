"""Simple models on the paper authors' splits, against docs/methods.md#reference-values."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation.cut import AS_TRAINED, Cut
from mrl4rec.evaluation.ranking.evaluate import Evaluation, evaluate
from mrl4rec.models import fit, resolve
from mrl4rec.models.scorers import Scorer
from tests.benchmarks.probes.pairs import interactions

pytestmark = pytest.mark.slow
FITTED = ("train", "valid")


@cache
def split(folder: Path) -> Interactions:
    return interactions("split", str(folder))


def look(model: Scorer, data: Interactions, cut: Cut = AS_TRAINED) -> Evaluation:
    seen, truth = data.csr(*FITTED), data.csr("test")
    return evaluate(cut.apply(model), seen, truth, metrics=("recall", "ndcg"))


@pytest.mark.parametrize(
    ("folder", "method", "values"),
    [
        ("phone", "ItemCF.shrink=0", ".0672 .0960 .1464 .0446 .0530 .0647"),
        ("phone", "ItemCF.shrink=5", ".0865 .1177 .1687 .0580 .0671 .0791"),
        ("phone", "ItemCF.shrink=20", ".1053 .1416 .1980 .0707 .0813 .0945"),
        ("tool", "ItemCF.shrink=0", ".0408 .0560 .0828 .0296 .0341 .0406"),
        ("tool", "ItemCF.shrink=5", ".0544 .0708 .1003 .0395 .0445 .0516"),
        ("tool", "ItemCF.shrink=20", ".0666 .0863 .1197 .0475 .0535 .0616"),
        ("phone", "RP3beta.alpha=0.8", ".1042 .1417 .2074 .0712 .0822 .0974"),
        ("phone", "RP3beta.alpha=1", ".0910 .1257 .1927 .0614 .0716 .0872"),
        ("tool", "RP3beta.alpha=0.8", ".0596 .0807 .1186 .0417 .0481 .0570"),
        ("tool", "EASE.lam=200", ".0721 .0956 .1312 .0508 .0579 .0665"),
    ],
)
def test_deterministic_ones_are_as_they_were(
    folder: str, method: str, values: str, real_data: Path
) -> None:
    data = split(real_data / "author-splits" / folder)
    found = look(fit(resolve(method.partition(".")[0], [method]), data, FITTED), data)
    places = [(metric, k) for metric in ("recall", "ndcg") for k in (10, 20, 50)]
    measured = [found.get(*place) for place in places]
    assert measured == pytest.approx([float(v) for v in values.split()], abs=5e-4)


def test_ials_and_its_rotation_on_tools(real_data: Path) -> None:
    """One seed against another's reference values: ±3 % at full width and of prefixes."""
    data = split(real_data / "author-splits" / "tool")
    model = fit(resolve("iALS", ["iALS.a0=0.03", "iALS.lam=0.01"]), data, FITTED, 2022)
    turned = look(model, data, Cut(rotated=True))
    assert look(model, data).get("recall", 20) == pytest.approx(0.0907, rel=0.03)
    found = [turned.get("recall", 20, width) for width in (4, 8, 16, 32, 64)]
    assert found == pytest.approx([0.0547, 0.0670, 0.0800, 0.0873, 0.0907], rel=0.03)
