"""The softmax over many items without holding all logits: rows are gone over in chunks.

A chunk's logits are made, turned into probabilities and multiplied back into both gradients while
they are in the cache. The gradients are made in the forward pass for losses of weight 1; where the
weights turn out to be equal, as those of a sum or a mean are, the backward pass only scales them,
and goes over the chunks again otherwise.

25,600 rows of 64 numbers against 3,706 items, forward and backward, in seconds of one CPU core
(AMD EPYC with AVX512-BF16): 1.32 by ``functional.cross_entropy``, which holds 380 MB of logits as
well, 0.52 here and 0.26 with bfloat16 products, whose gradients differ by 0.3 % (of their norm).

Shapes: T rows, I items, S items of a sample, d dimensions, C rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOGITS = {"cpu": 1 << 20, "cuda": 1 << 27}
"""Numbers of a chunk, at most, by device."""


def losses(rows_Td: Tensor, items_Id: Tensor, targets_T: Tensor, half: bool = False) -> Tensor:
    """(T,) −log softmax over all items of each row's target: ``functional.cross_entropy`` of
    ``rows_Td @ items_Id.T`` with ``reduction="none"``.

    ``half``: products take and give bfloat16; exponentials and sums stay as the rows are.
    """
    # torch leaves Function.apply, and the decorator below, without types
    found: Tensor = _All.apply(rows_Td, items_Id, targets_T, half)  # type: ignore[no-untyped-call]
    return found


def against(
    own_T: Tensor,
    rows_Td: Tensor,
    sample_Sd: Tensor,
    log_q_S: Tensor | None,
    left_out: tuple[Tensor, Tensor],
    half: bool = False,
) -> Tensor:
    """(T,) −log of the share of each row's own logit in a softmax of it and the logits
    ``rows_Td @ sample_Sd.T - log_q_S``.

    ``left_out``: a number of each row, (T,), and of each of the sample, (S,); where they are equal
    there is no logit.
    """
    found: Tensor = _Sampled.apply(own_T, rows_Td, sample_Sd, log_q_S, *left_out, half)  # type: ignore[no-untyped-call]
    return found


class _All(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows_Td: Tensor, items_Id: Tensor, targets_T: Tensor, half: bool
    ) -> Tensor:
        losses_T, *gradients = _of_all(
            _Chunks(rows_Td, items_Id, half, any(ctx.needs_input_grad)), targets_T
        )
        ctx.half = half
        ctx.save_for_backward(rows_Td, items_Id, targets_T, *gradients)
        return losses_T

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_T: Tensor) -> tuple[Tensor | None, ...]:
        rows_Td, items_Id, targets_T, *gradients = ctx.saved_tensors
        if _is_even(grad_T):
            return *(gradient * grad_T[0] for gradient in gradients), None, None
        chunks = _Chunks(rows_Td, items_Id, ctx.half, True, grad_T)
        return *_of_all(chunks, targets_T)[1:], None, None


class _Sampled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own_T: Tensor, rows_Td: Tensor, sample_Sd: Tensor, *rest: Any) -> Tensor:
        ctx.log_q_S, *left_out, ctx.half = rest
        chunks = _Chunks(rows_Td, sample_Sd, ctx.half, any(ctx.needs_input_grad))
        losses_T, *gradients = _of_sample(chunks, own_T, ctx.log_q_S, *left_out)
        ctx.save_for_backward(own_T, rows_Td, sample_Sd, *left_out, *gradients)
        return losses_T

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_T: Tensor) -> tuple[Tensor | None, ...]:
        own_T, rows_Td, sample_Sd, of_rows_T, of_sample_S, *gradients = ctx.saved_tensors
        if _is_even(grad_T):
            return *(gradient * grad_T[0] for gradient in gradients), None, None, None, None
        chunks = _Chunks(rows_Td, sample_Sd, ctx.half, True, grad_T)
        made = _of_sample(chunks, own_T, ctx.log_q_S, of_rows_T, of_sample_S)
        return *made[1:], None, None, None, None


def _is_even(grad_T: Tensor) -> bool:
    return len(grad_T) > 0 and bool((grad_T == grad_T[0]).all())


@dataclass(eq=False)
class _Chunks:
    """The logits of rows and a table, chunk by chunk, and the gradients they are to give."""

    rows_Td: Tensor
    table_Sd: Tensor
    half: bool
    wanted: bool
    """Gradients are made: of the sum of the losses, or of their weighted sum."""
    weights_T: Tensor | None = None

    def __post_init__(self) -> None:
        self.kind = self.rows_Td.dtype
        self.of_rows_Td = torch.empty_like(self.rows_Td) if self.wanted else self._none()
        self.of_table_Sd = torch.zeros_like(self.table_Sd) if self.wanted else self._none()
        if self.half:
            self.rows_Td, self.table_Sd = self.rows_Td.bfloat16(), self.table_Sd.bfloat16()

    def _none(self) -> Tensor:
        return self.rows_Td.new_empty(0)

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        size = max(1, LOGITS[self.rows_Td.device.type] // max(1, len(self.table_Sd)))
        for begin in range(0, len(self.rows_Td), size):
            part = slice(begin, begin + size)
            yield part, (self.rows_Td[part] @ self.table_Sd.T).to(self.kind)

    def weights(self, part: slice) -> Tensor:
        """(C, 1), or (1, 1)."""
        if self.weights_T is None:
            return torch.ones(1, 1, dtype=self.kind, device=self.rows_Td.device)
        return self.weights_T[part, None]

    def back(self, part: slice, slopes_CS: Tensor) -> None:
        """Take in the derivatives by the logits of a chunk."""
        slopes_CS = slopes_CS.to(self.rows_Td.dtype)
        self.of_rows_Td[part] = slopes_CS @ self.table_Sd
        self.of_table_Sd += slopes_CS.T @ self.rows_Td[part]


def _of_all(chunks: _Chunks, targets_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, and the gradients by rows and items (empty where they are not wanted)."""
    losses_T = chunks.of_rows_Td.new_empty(len(targets_T))
    for part, logits_CI in chunks:
        targets_C1 = targets_T[part, None]
        own_C1 = logits_CI.gather(1, targets_C1)
        top_C1 = logits_CI.amax(1, keepdim=True)
        total_C1 = logits_CI.sub_(top_C1).exp_().sum(1, keepdim=True)
        losses_T[part] = (total_C1.log() + top_C1 - own_C1)[:, 0]
        if chunks.wanted:
            weights_C1 = chunks.weights(part)
            logits_CI.mul_(weights_C1 / total_C1)
            logits_CI.scatter_add_(1, targets_C1, -weights_C1.expand_as(own_C1))
            chunks.back(part, logits_CI)
    return losses_T, chunks.of_rows_Td, chunks.of_table_Sd


def _of_sample(
    chunks: _Chunks, own_T: Tensor, log_q_S: Tensor | None, of_rows_T: Tensor, of_sample_S: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Losses, and the gradients by own logits, rows and sample."""
    losses_T, of_own_T = torch.empty_like(own_T), torch.empty_like(own_T)
    for part, logits_CS in chunks:
        own_C1 = own_T[part, None]
        if log_q_S is not None:
            logits_CS.sub_(log_q_S)
        logits_CS.masked_fill_(of_sample_S == of_rows_T[part, None], -torch.inf)
        top_C1 = torch.maximum(logits_CS.amax(1, keepdim=True), own_C1)
        own_share_C1 = (own_C1 - top_C1).exp()
        total_C1 = logits_CS.sub_(top_C1).exp_().sum(1, keepdim=True) + own_share_C1
        losses_T[part] = (total_C1.log() + top_C1 - own_C1)[:, 0]
        if chunks.wanted:
            weights_C1 = chunks.weights(part)
            of_own_T[part] = (weights_C1 * (own_share_C1 / total_C1 - 1))[:, 0]
            chunks.back(part, logits_CS.mul_(weights_C1 / total_C1))
    return losses_T, of_own_T, chunks.of_rows_Td, chunks.of_table_Sd
