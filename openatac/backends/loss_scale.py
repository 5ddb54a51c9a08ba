"""The factor that keeps small float16 gradients from vanishing (Micikevicius et al., 2018, section 3.2)."""
from __future__ import annotations

from typing import Any

from openatac.backends.compute import INITIAL_LOSS_SCALE, Compute
from openatac.errors import OpenatacError


class LossScale:
    """A factor that doubles after ``patience`` consecutive finite steps, and halves after any other step.

    Parameters
    ----------
    scale : float
        The initial factor.
    patience : int
    """

    def __init__(self, scale: float = INITIAL_LOSS_SCALE, patience: int = 2000) -> None:
        self.scale = scale
        self.patience = patience
        self.good_steps = 0

    @classmethod
    def of(cls, compute: Compute) -> LossScale | None:
        """Return the loss scale that a run starts with; None unless its dtype is float16."""
        return cls(compute.first_loss_scale) if compute.dtype == 'float16' else None

    def update(self, finite: bool) -> bool:
        """Adapt the scale for the next step; return ``finite``, whether this step's gradients were finite.

        Raises
        ------
        OpenatacError
            If the gradients overflow even at the smallest scale.
        """
        if finite:
            self.good_steps += 1
            if self.good_steps == self.patience:
                self.scale, self.good_steps = min(2 * self.scale, 2.0 ** 24), 0
            return True
        self.scale, self.good_steps = self.scale / 2, 0
        if self.scale < 2.0 ** -10:
            raise OpenatacError('the gradients are not finite at any loss scale: use a smaller --lr')
        return False

    def state(self) -> dict[str, Any]:
        """Return the values that `load_state` restores."""
        return {'scale': self.scale, 'good_steps': self.good_steps}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.scale = state['scale']
        self.good_steps = state['good_steps']
