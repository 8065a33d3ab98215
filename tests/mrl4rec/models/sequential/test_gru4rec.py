"""GRU4Rec's state, held against its equations."""

from __future__ import annotations

import torch

from tests.mrl4rec.models.sequential.every_place_samples import DIM, method, started, windows

HIDDEN = 5


def test_the_vector_is_that_of_the_equations() -> None:
    model = started(method("GRU4Rec", hidden=HIDDEN))
    parts = dict(model.parameters)
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in parts.values():
            part += 0.3 * torch.randn(part.shape, generator=drawn, dtype=part.dtype)
    state = torch.zeros(HIDDEN, dtype=torch.float64)
    for item in (4, 1, 9):
        inputs = parts["items"][item] * DIM**0.5
        read = (parts["gru.inputs"] @ inputs + parts["gru.inputs_bias"]).view(3, HIDDEN)
        held = (parts["gru.state"] @ state + parts["gru.state_bias"]).view(3, HIDDEN)
        reset, update = torch.sigmoid(read[0] + held[0]), torch.sigmoid(read[1] + held[1])
        new = torch.tanh(read[2] + reset * held[2])
        state = (1 - update) * new + update * state
    expected = parts["out.weight"] @ state + parts["out.bias"]
    torch.testing.assert_close(model.net.encode(windows([4, 1, 9]))[0, 0], expected)
