"""MacridVAE (Ma et al. 2019): an autoencoder whose users have one vector for each concept of items.

Items h and concepts m lie on the sphere. Item i belongs to concept k by c_ik = softmax_k(<h_i, m_k>
/ τ), in training a sample of it (Gumbel-softmax, temperature 1). The encoder, a layer of tanh and a
linear one, reads the user's items weighed by c_·k and gives the place μ_k, put on the sphere, and
the log-variance of z_k. An item's probability goes with Σ_k c_ik exp(<z_k, h_i>/τ).

Shapes: B users of a batch, X their pairs, U users, I items, K concepts, d dimensions, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mrl4rec.core import lazy
from mrl4rec.models.base import Batch, Setup, Trained
from mrl4rec.models.values import Span, check_word, value

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.kernels import mixture_torch
    from mrl4rec.kernels import noise_torch as noise

AT_ONCE = 4096
"""Users whose vectors are made at once."""


@dataclass(frozen=True)
class Macrid(Trained):
    """−Σ log p of a user's items + β times the divergence, the mean over users.

    And (l2/2)/B times the squared norms of all weights. No negatives are drawn.
    """

    recordable = False  # how many items a batch of users has

    model: str = "macridvae"
    objective: str = "multinomial"
    l2: float = value(
        0.0,
        "weight of the squared norms, a pair of the batch; 0: none",
        low=0,
        tune=Span(1e-6, 1e-1, log=True),
    )
    concepts: int = value(7, "concepts of items, each with a vector of its own", low=1)
    hidden: int = value(600, "numbers in the encoder's hidden layer", low=1)
    tau: float = value(0.1, "temperature of mixing and scores", low=0.05)
    std: float = value(0.075, "σ₀, scale of prior and noise; 0: no noise", low=0)
    beta: float = value(
        0.2,
        "weight of the divergence once it is there",
        low=0,
        tune=Span(5e-2, 1.0, log=True),
    )
    anneal: float = value(20.0, "epochs over which beta grows from 0; 0: at once", low=0)
    drop: float = value(
        0.5,
        "share of a history's entries that is dropped",
        low=0,
        high=0.95,
        tune=Span(0.2, 0.8),
    )

    def check(self, owner: str) -> None:
        """Raise UsageError where the model is not its own."""
        super().check(owner)
        check_word(owner, "model", self.model, (Macrid.model,))

    @property
    def examples(self) -> str:
        """Users, each with all its items."""
        return "users"

    def widths(self, levels: tuple[int, ...] | None) -> tuple[int | None, ...]:
        """None: a mixture of inner products has no prefixes."""
        return (None,)

    def start(self, setup: Setup) -> MacridVAE:
        """Items, concepts and the encoder, drawn from the seed."""
        return MacridVAE(setup, self)

    def loss(self, model: MacridVAE, batch: Batch) -> Tensor:
        """This process's part of the mean over a batch of users; the positives are not read."""
        rows = model.rows(batch.users_B)
        drawn = draw(model, rows, batch.place.seed, batch.place.step, self.drop)
        found = terms(model, rows, drawn, self.std)
        loss = found.surprise + model.beta(batch.place.step) * found.divergence
        if self.l2:
            norms = torch.stack([part.pow(2).sum() for part in model.parameters.values()]).sum()
            loss = loss + self.l2 / 2 * norms * len(batch.users_B) / batch.size
        return loss / batch.size

    def vectors(self, model: MacridVAE) -> dict[str, Tensor]:
        """What a mixture scores with, of every user."""
        everybody = torch.arange(len(model.indptr) - 1, device=model.indptr.device)
        parts = [model.vectors(model.rows(some)) for some in everybody.split(AT_ONCE)]
        users = torch.cat([part["user_concepts"] for part in parts])
        return {**parts[0], "user_concepts": users}


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


class MacridVAE:
    """Items, concepts and the encoder, and the training pairs as histories."""

    def __init__(self, setup: Setup, method: Macrid) -> None:
        dim, hidden, n_items = setup.dim, method.hidden, setup.seen.n_columns
        self.parameters = setup.parameters
        self.items = setup.table("items", n_items, dim, 0)
        self.concepts = setup.table("concepts", method.concepts, dim, 1)
        self.first = setup.table("first", n_items, hidden, 2)
        self.second = setup.table("second", hidden, 2 * dim, 3)
        self.first_bias = setup.zeros("first_bias", hidden)
        self.second_bias = setup.zeros("second_bias", 2 * dim)
        self.tau, self.full_beta = method.tau, method.beta
        self.rise = method.anneal * setup.steps
        """Steps over which β grows from 0 to its value; 0: it is there at once."""
        self.indptr = torch.from_numpy(setup.seen.indptr).to(setup.device)
        self.indices = torch.from_numpy(setup.seen.indices.astype("int64")).to(setup.device)

    def beta(self, step: int | Tensor) -> float | Tensor:
        """β at this step."""
        if self.rise == 0:
            return self.full_beta
        share = step / self.rise
        ramp = min(1.0, share) if isinstance(share, float) else share.clamp(max=1.0)
        return self.full_beta * ramp

    def rows(self, users_B: Tensor) -> Rows:
        """The items these users have."""
        starts_B, counts_B = self.indptr[users_B], self.indptr[users_B + 1] - self.indptr[users_B]
        begins_B = counts_B.cumsum(0) - counts_B
        shift_X = (starts_B - begins_B).repeat_interleave(counts_B)
        places_X = torch.arange(len(shift_X), device=shift_X.device) + shift_X
        return Rows(users_B, begins_B, self.indices[places_X])

    def mixing(self, gumbel_IK: Tensor | None = None) -> Tensor:
        """(I, K) log c, with noise a sample of it."""
        logits = functional.normalize(self.items) @ functional.normalize(self.concepts).T / self.tau
        return functional.log_softmax(logits if gumbel_IK is None else logits + gumbel_IK, dim=1)

    def encode(self, rows: Rows, log_mixing_IK: Tensor, kept_X: Tensor | None = None) -> Code:
        """The users' codes from their L2-normalised rows; ``kept_X`` multiplies their entries."""
        counts_B = rows.counts_B
        values_X = counts_B.to(self.first.dtype).rsqrt()[rows.place_X]
        if kept_X is not None:
            values_X = values_X * kept_X
        weights_XK = values_X[:, None] * log_mixing_IK[rows.items_X].exp()
        concepts = weights_XK.shape[1]
        shifts_K1 = torch.arange(concepts, device=counts_B.device)[:, None] * len(rows.items_X)
        read = functional.embedding_bag(  # a bag for each (concept, user)
            rows.items_X.repeat(concepts),
            self.first,
            (rows.begins_B[None] + shifts_K1).flatten(),
            mode="sum",
            per_sample_weights=weights_XK.T.flatten(),
        )
        out = torch.tanh(read + self.first_bias) @ self.second + self.second_bias
        places, log_variances = out.view(concepts, len(counts_B), -1).transpose(0, 1).chunk(2, 2)
        return Code(functional.normalize(places, dim=2), log_variances)

    def vectors(self, rows: Rows) -> dict[str, Tensor]:
        """What a mixture model scores with, of these users: no noise, places scaled by 1/τ."""
        with torch.no_grad():
            log_mixing = self.mixing()
            return {
                "user_concepts": self.encode(rows, log_mixing).places / self.tau,
                "item_vectors": functional.normalize(self.items),
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
    users_BKd = functional.normalize(moved, dim=2) / model.tau
    items_Id = functional.normalize(model.items)
    own_XK = torch.einsum("xkd,xd->xk", users_BKd[rows.place_X], items_Id[rows.items_X])
    own_X = torch.logsumexp(own_XK + log_mixing[rows.items_X], dim=1)
    totals_B = mixture_torch.log_totals(
        users_BKd, items_Id, log_mixing, 1 / model.tau, rows.counts_B
    )
    variances = 1 + code.log_variances - code.log_variances.exp()
    return Terms(totals_B - own_X.sum(), -0.5 * variances.sum())


VARIANTS = (
    Macrid("MVAE", batch=500),
    Macrid("MVAE-own", batch=500, dim=100),
    Macrid("MVAE-recbole", batch=500, concepts=10, std=0.01),
)
"""Plain with MRL4Rec's 64 dimensions, ``-own`` with its paper's 100; a batch is of users."""
