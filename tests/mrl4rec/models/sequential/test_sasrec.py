"""SASRec's layers and losses, held against their equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mrl4rec.core.errors import UsageError
from mrl4rec.models import resolve
from mrl4rec.models.negatives import Place
from mrl4rec.models.sequential import binary
from mrl4rec.models.sequential.base import Training
from tests.mrl4rec.models.sequential.every_place_samples import DIM, method, started, windows

HEADS = 2


def shaken(name: str, **values: object) -> Training:
    """With no weight at 0 or 1."""
    model = started(method(name, heads=HEADS, **values))
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in model.parameters.values():
            part += 0.3 * torch.randn(part.shape, generator=drawn, dtype=part.dtype)
    return model


def normed(values: Tensor, parts: dict[str, Tensor], name: str) -> Tensor:
    centred = values - values.mean(1, keepdim=True)
    unit = centred / (centred.pow(2).mean(1, keepdim=True) + 1e-5).sqrt()
    return unit * parts[f"{name}.scale"] + parts[f"{name}.shift"]


def mixed(values: Tensor, parts: dict[str, Tensor], name: str) -> Tensor:
    """Attention, one item and head at a time."""
    weight, bias = parts[f"{name}.read.weight"], parts[f"{name}.read.bias"]
    read = (values @ weight.T + bias).view(len(values), 3, HEADS, -1)
    rows = []
    for place in range(len(values)):
        heads = []
        for head in range(HEADS):
            query, keys, there = read[place, 0, head], *read[: place + 1, 1:, head].unbind(1)
            weights = torch.softmax(keys @ query / (DIM / HEADS) ** 0.5, 0)
            heads.append(weights @ there)
        rows.append(torch.cat(heads))
    return torch.stack(rows) @ parts[f"{name}.write.weight"].T + parts[f"{name}.write.bias"]


@pytest.mark.parametrize("name", ["SASRec", "eSASRec"])
def test_the_vector_is_that_of_the_equations(name: str) -> None:
    model = shaken(name)
    parts, history = dict(model.parameters), [4, 1, 9]
    values = parts["items"][history] * DIM**0.5 + parts["places"][[2, 1, 0]]
    for layer in ("layer0", "layer1"):
        added = mixed(normed(values, parts, f"{layer}.norm1"), parts, f"{layer}.attention")
        if name == "eSASRec":
            added = added * gate(values, parts, f"{layer}.gate1")
        values = values + added
        inside = normed(values, parts, f"{layer}.norm2")
        if name == "eSASRec":
            one = inside @ parts[f"{layer}.first.weight"].T
            two = inside @ parts[f"{layer}.second.weight"].T
            wide = (one * torch.sigmoid(one) * two) @ parts[f"{layer}.third.weight"].T
            wide = wide * gate(values, parts, f"{layer}.gate2")
        else:
            first = inside @ parts[f"{layer}.first.weight"].T + parts[f"{layer}.first.bias"]
            wide = first.clamp(min=0) @ parts[f"{layer}.second.weight"].T
            wide = wide + parts[f"{layer}.second.bias"]
        values = values + wide
    expected = normed(values, parts, "norm")[-1]
    torch.testing.assert_close(model.net.encode(windows(history))[0, 0], expected)


def gate(values: Tensor, parts: dict[str, Tensor], name: str) -> Tensor:
    return torch.sigmoid(values @ parts[f"{name}.weight"].T + parts[f"{name}.bias"])


def test_gbce_without_calibration_is_bce_of_all_and_with_it_weighs_the_target_less() -> None:
    assert binary.calibrated_power(0.0, 20, 101) == pytest.approx(1.0)
    assert binary.calibrated_power(1.0, 20, 101) == pytest.approx(0.2)
    assert binary.calibrated_power(0.75, 20, 101) == pytest.approx(0.4)
    users, items = torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, -2.0]])
    shared = torch.tensor([1, 0, 2])
    found = binary.gbce(users, items, torch.tensor([0]), shared, 0.5)
    sigma = torch.sigmoid
    one, two, three = (torch.tensor(x) for x in (1.0, 1.0, 2.0))
    expected = -(0.5 * sigma(one).log() + sigma(-two).log() + sigma(-three).log()) / 4
    assert float(found) == pytest.approx(float(expected))


def test_the_negative_of_bce_is_another_item() -> None:
    targets = torch.arange(5).repeat(400)
    found = binary.others(Place(0, 1, 0), torch.arange(2000), targets, 5, 0)
    assert not (found == targets).any()
    counts = torch.bincount(found * 5 + targets, minlength=25).view(5, 5)
    assert counts.diagonal().sum() == 0
    assert counts[counts > 0].min() > 60
    again = binary.others(Place(0, 1, 0), torch.arange(1000, 2000), targets[1000:], 5, 0)
    assert torch.equal(again, found[1000:])
    assert not torch.equal(found, binary.others(Place(0, 1, 0), torch.arange(2000), targets, 5, 1))


def test_heads_that_do_not_divide_the_dimension_are_refused() -> None:
    with pytest.raises(UsageError) as refused:
        resolve("SASRec", ["SASRec.dim=10", "SASRec.heads=4"])
    assert "heads" in str(refused.value.where)
