"""MacridVAE (Ma et al. 2019): an autoencoder whose users have one vector for each concept of items.

Items h and concepts m lie on the sphere. Item i belongs to concept k by c_ik = softmax_k(<h_i, m_k>
/ τ), in training a sample of it (Gumbel-softmax, temperature 1). The encoder, a layer of tanh and a
linear one, reads the user's items weighed by c_·k and gives the place μ_k, put on the sphere, and
the log-variance of z_k. An item's probability goes with Σ_k c_ik exp(<z_k, h_i>/τ)
(docs/methods.md#graph-methods-and-macridvae).

Shapes: B users of a batch, X their pairs, U users, I items, K concepts, d dimensions, H hidden.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, log_softmax, normalize

from mrl4rec.hashing import xavier
from mrl4rec.models import noise
from mrl4rec.models.catalogue import log_totals


class Rows(NamedTuple):
    """The items of some users, one after another."""

    users_B: Tensor
    begins_B: Tensor
    """Place of each user's first item in ``items_X``."""
    items_X: Tensor

    @property
    def place_X(self) -> Tensor:
        """Place in the batch of each pair's user."""
        starts = torch.zeros(len(self.items_X) + 1, dtype=torch.int64, device=self.items_X.device)
        ones = torch.ones_like(self.begins_B)
        return starts.scatter_add_(0, self.begins_B, ones)[:-1].cumsum(0) - 1

    @property
    def counts_B(self) -> Tensor:
        """Number of items of each user."""
        end = self.begins_B.new_full((1,), len(self.items_X))
        return torch.cat([self.begins_B, end]).diff()


class Code(NamedTuple):
    """What the encoder says of users: (B, K, d) places on the sphere and log-variances."""

    places: Tensor
    log_variances: Tensor


class MacridVAE(nn.Module):
    """Items, concepts and the encoder."""

    def __init__(
        self,
        n_items: int,
        dim: int,
        concepts: int,
        hidden: int,
        tau: float,
        seed: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.tau = tau
        shapes = ((n_items, dim), (concepts, dim), (n_items, hidden), (hidden, 2 * dim))
        tables = [
            nn.Parameter(torch.from_numpy(xavier(*shape, seed, table)).to(dtype))
            for table, shape in enumerate(shapes)
        ]
        self.items, self.concepts, self.first, self.second = tables
        self.first_bias = nn.Parameter(torch.zeros(hidden, dtype=dtype))
        self.second_bias = nn.Parameter(torch.zeros(2 * dim, dtype=dtype))

    def mixing(self, gumbel_IK: Tensor | None = None) -> Tensor:
        """(I, K) log c, with noise a sample of it."""
        logits = normalize(self.items) @ normalize(self.concepts).T / self.tau
        return log_softmax(logits if gumbel_IK is None else logits + gumbel_IK, dim=1)

    def encode(self, rows: Rows, log_mixing_IK: Tensor, kept_X: Tensor | None = None) -> Code:
        """The users' codes from their L2-normalised rows; ``kept_X`` multiplies their entries."""
        counts_B = rows.counts_B
        values_X = counts_B.to(self.first.dtype).rsqrt()[rows.place_X]
        if kept_X is not None:
            values_X = values_X * kept_X
        weights_XK = values_X[:, None] * log_mixing_IK[rows.items_X].exp()
        concepts = weights_XK.shape[1]
        shifts_K1 = torch.arange(concepts, device=counts_B.device)[:, None] * len(rows.items_X)
        read = embedding_bag(  # a bag for each (concept, user)
            rows.items_X.repeat(concepts),
            self.first,
            (rows.begins_B[None] + shifts_K1).flatten(),
            mode="sum",
            per_sample_weights=weights_XK.T.flatten(),
        )
        out = torch.tanh(read + self.first_bias) @ self.second + self.second_bias
        places, log_variances = out.view(concepts, len(counts_B), -1).transpose(0, 1).chunk(2, 2)
        return Code(normalize(places, dim=2), log_variances)

    @torch.no_grad()
    def vectors(self, rows: Rows) -> dict[str, Tensor]:
        """What a mixture model scores with, of these users: no noise, places scaled by 1/τ."""
        log_mixing = self.mixing()
        return {
            "user_concepts": self.encode(rows, log_mixing).places / self.tau,
            "item_vectors": normalize(self.items),
            "mixing": log_mixing.exp(),
        }


class Noise(NamedTuple):
    """All that is drawn for a step."""

    gumbel_IK: Tensor
    kept_X: Tensor
    """0 where an entry is dropped, else 1/(share that is kept)."""
    normal_BKd: Tensor


def draw(model: MacridVAE, rows: Rows, seed: int, step: int | Tensor, drop: float) -> Noise:
    """The noise of a step, by item, user and (user, item)."""
    (n_items, dim), concepts = model.items.shape, len(model.concepts)
    dtype, device = model.items.dtype, model.items.device
    words = [noise.word(seed, step, s) for s in (noise.GUMBEL, noise.DROP, noise.NORMAL)]
    gumbel = noise.gumbels(words[0], torch.arange(n_items, device=device), concepts)
    users_X = rows.users_B[rows.place_X]
    kept = noise.tensor_uniforms(words[1], users_X, rows.items_X) >= drop
    normal = noise.normals(words[2], rows.users_B, concepts * dim).view(-1, concepts, dim)
    return Noise(gumbel.to(dtype), kept.to(dtype) / (1 - drop), normal.to(dtype))


class Terms(NamedTuple):
    """Sums over the users of a batch."""

    surprise: Tensor
    """−Σ over their items of log p(i|u)."""
    divergence: Tensor
    """Σ_k KL of q(z_k) from the prior, less what does not change: μ is on the sphere."""


def terms(model: MacridVAE, rows: Rows, drawn: Noise, std: float) -> Terms:
    """The two parts of the loss. ``std``: σ₀ of prior and noise."""
    log_mixing = model.mixing(drawn.gumbel_IK)
    code = model.encode(rows, log_mixing, drawn.kept_X)
    moved = code.places + drawn.normal_BKd * torch.exp(code.log_variances / 2) * std
    users_BKd = normalize(moved, dim=2) / model.tau
    items_Id = normalize(model.items)
    own_XK = torch.einsum("xkd,xd->xk", users_BKd[rows.place_X], items_Id[rows.items_X])
    own_X = torch.logsumexp(own_XK + log_mixing[rows.items_X], dim=1)
    totals_B = log_totals(users_BKd, items_Id, log_mixing, 1 / model.tau, rows.counts_B)
    variances = 1 + code.log_variances - code.log_variances.exp()
    return Terms(totals_B - own_X.sum(), -0.5 * variances.sum())
