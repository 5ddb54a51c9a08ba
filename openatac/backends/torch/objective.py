"""The training objective in PyTorch, without MXNet."""
from __future__ import annotations

from dataclasses import dataclass

import torch

from openatac.backends.objective import Objective

F = torch.nn.functional


@dataclass
class TorchObjective(Objective):
    """`Objective` on tensors; its teacher is a Module, which is switched to evaluation mode permanently.

    None of its methods waits for a GPU. Logits can have any precision; losses and targets are float32.
    """

    def __post_init__(self) -> None:
        # A module from `to_torch` starts in training mode, in which batches would change its statistics.
        if self.teacher is not None:
            self.teacher.eval()

    def targets(self, labels: torch.Tensor, lam: float) -> torch.Tensor:
        return super().targets(labels.long(), lam)  # the only integers that cross_entropy takes

    def reversed(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.flip(0)

    def distribution(self, labels: torch.Tensor) -> torch.Tensor:
        spread = self.smoothing / self.classes
        # Not F.one_hot, which on the CPU reads the labels to check them.
        hits = labels[:, None] == torch.arange(self.classes, device=labels.device)
        return torch.where(hits, 1 - self.smoothing + spread, spread).float()

    def soft_targets(self, images: torch.Tensor) -> torch.Tensor | None:
        if self.teacher is None:
            return None
        with torch.no_grad():  # not inference_mode, whose arrays no backward pass may use
            return torch.softmax(self.teacher(images).float() / self.temperature, 1)

    def loss(self, output: torch.Tensor, targets: torch.Tensor,
             soft_targets: torch.Tensor | None = None) -> torch.Tensor:
        """Return the losses (B,) of the logits ``output`` (B, classes).

        With a teacher, Hinton et al., 2015: hard H(targets) + (1 - hard) T^2 H(soft_targets; output / T),
        where T^2 keeps the size of the gradients when T changes.
        """
        output = output.float()
        hard = F.cross_entropy(output, targets, reduction='none')
        if soft_targets is None:
            return hard
        soft = F.cross_entropy(output / self.temperature, soft_targets, reduction='none')
        return self.hard_weight * hard + (1 - self.hard_weight) * self.temperature ** 2 * soft

    def summed_metric(self, output: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor
                      ) -> torch.Tensor:
        output = output.detach().float()
        if self.metric_name == 'accuracy':
            return (output.argmax(1) == labels).sum(dtype=torch.float32)
        return (torch.softmax(output, 1) - targets).square().mean().sqrt() * len(labels)
