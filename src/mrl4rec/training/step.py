"""What a step of the ``autograd`` engine minimises: a method's loss as one module, for DDP.

Shapes: B examples of this process.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from mrl4rec.models import Batch, Setup
from mrl4rec.models.negatives import Place
from mrl4rec.training.request import Plan
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start


class Step(nn.Module):
    """Draws and loss of a batch in one forward pass.

    Adam runs over all its parameters; checkpoints hold every one of them and nothing else, so
    whatever changes from step to step besides (draws, noise, a warm-up) is a function of the place
    of the batch in training.
    """

    def __init__(self, task: Task, plan: Plan, device: str, start: Start | None = None) -> None:
        """Parameters are drawn from the seed, but for the rows that a warm start knows."""
        super().__init__()
        assert plan.seed is not None
        assert plan.dtype is not None
        self.method = plan.trained
        steps, _ = task.steps(self.method.batch)
        self.setup = Setup(
            task.seen,
            plan.dim,
            plan.levels,
            plan.seed,
            steps,
            plan.dtype,
            device,
            histories=task.histories,
        )
        self.model = self.method.start(self.setup)
        if start is not None:
            start.put(self.model.users, self.model.items)
        self.trained = nn.ParameterList(self.setup.parameters.values())

    def forward(self, users_B: Tensor, positives_B: Tensor, place: Place, batch: int) -> Tensor:
        """This process's part of the loss of the global ``batch``: the parts add up to it."""
        return self.method.loss(self.model, Batch(users_B, positives_B, place, batch))

    def vectors(self) -> dict[str, Tensor]:
        """What the model folder gets."""
        return self.method.vectors(self.model)

    def named(self) -> Iterable[tuple[str, Tensor]]:
        """Every parameter in Adam's order, by its name in a checkpoint."""
        return self.setup.parameters.items()
