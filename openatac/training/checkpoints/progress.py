"""The progress of a run: what a checkpoint records of it, and how the run resumes from there."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypedDict

from openatac.backends.learner import Arrays, Learner, LearnerNumbers
from openatac.errors import CheckpointError
from openatac.files.schema import validate
from openatac.limits import Bounds
from openatac.training.checkpoints.checkpoint import checkpoints_of

EpochRow = dict[str, Any]  # a row of metrics.csv, {column: value}; docs/reference/files.md lists the columns
_Count = Annotated[int, Bounds(0, 2 ** 40)]


class Best(NamedTuple):
    """The highest accuracy so far, and its epoch; both are -1 before the first evaluation."""

    accuracy: float = -1.0
    epoch: Annotated[int, Bounds(-1, 2 ** 40)] = -1


class _ProgressOfVersion1(TypedDict):
    """`Progress` in the first version of state.json."""

    epoch: _Count
    batch: _Count
    history: list[dict[str, float]]
    best: Best


class _Progress(_ProgressOfVersion1, total=False):
    disturbed: bool
    inexact: list[str]


class State(TypedDict):
    """state.json of a checkpoint."""

    settings: dict[str, Any]
    engine: LearnerNumbers
    progress: _Progress


Adapt = Callable[[Arrays, State], tuple[Arrays, State]]


@dataclass
class Progress:
    """The progress of a run.

    Attributes
    ----------
    epoch, batch : int
        The next epoch and batch, counted from 0.
    history : list of dict
        A row for each finished epoch.
    best : Best
        On the evaluation images: with --val-split, held-out training images.
    disturbed : bool
        Whether other processes were seen to slow the run down.
    inexact : list of str
        Where the run was resumed under settings that change its results bit for bit, and which settings.
    """

    epoch: int = 0
    batch: int = 0
    history: list[EpochRow] = field(default_factory=list)
    best: Best = field(default_factory=Best)
    disturbed: bool = False
    inexact: list[str] = field(default_factory=list)

    def for_json(self) -> dict[str, Any]:
        """Return the progress as it is in state.json."""
        return {**vars(self), 'best': self.best._asdict()}

    def save(self, folder: str, settings: dict[str, Any], arrays: Arrays, numbers: LearnerNumbers) -> None:
        """Save a checkpoint of the run in ``folder``: the progress, the settings and the learner's state.

        Raises the errors of `Checkpoints.save`.
        """
        # The key 'engine', a backend's former name, stays so that older checkpoints can be read.
        checkpoints_of(folder).save(numbers['iteration'], arrays, {
            'settings': settings, 'engine': numbers, 'progress': self.for_json()})

    def resume(self, folder: str, learner: Learner, adapt: Adapt) -> bool:
        """Restore the progress and the learner from the newest checkpoint of the run in ``folder``.

        Parameters
        ----------
        folder : str
        learner : Learner
        adapt : function
            Maps the checkpoint's arrays and `State` to those to continue from. Raises CheckpointError if the
            checkpoint's settings do not allow it.

        Returns
        -------
        bool
            Whether there was a checkpoint.

        Raises
        ------
        CheckpointError
            If ``adapt`` raises it, or the checkpoint belongs to another run.
        """
        checkpoint = checkpoints_of(folder).latest()
        if checkpoint is None:
            return False
        arrays, unchecked = checkpoint
        try:
            arrays, state = adapt(arrays, validate(unchecked, State))
            learner.load_state(arrays, state['engine'])
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise CheckpointError(f'the newest checkpoint in {folder} does not belong to this run ({error}): '
                                  'start another run with another --save-dir') from error
        saved = state['progress']
        self.epoch = saved['epoch']
        self.batch = saved['batch']
        self.history = saved['history']
        self.best = saved['best']
        self.disturbed = saved.get('disturbed', False)
        self.inexact = saved.get('inexact', [])
        return True
