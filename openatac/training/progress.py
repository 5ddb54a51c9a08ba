"""How far a run has come: what a checkpoint holds of it, and how the run resumes from there."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from openatac.backends.base import Engine
from openatac.errors import CheckpointError
from openatac.files.schema import Range, validate
from openatac.training.checkpoint import checkpoints_of

Row = dict[str, Any]  # of the history: the results of an epoch
_Count = Annotated[int, Range(0, 2 ** 40)]
_LargeCount = Annotated[int, Range(0, 2 ** 60)]


class _Engine(TypedDict):
    iteration: _LargeCount
    images: _LargeCount


class _Best(TypedDict):
    accuracy: float
    epoch: Annotated[int, Range(-1, 2 ** 40)]


class _Progress(TypedDict):
    epoch: _Count
    batch: _Count
    history: list[dict[str, float]]
    best: _Best


class State(TypedDict):
    """state.json of a checkpoint."""

    settings: dict[str, Any]
    engine: _Engine
    progress: _Progress


@dataclass
class Progress:
    """The progress of a run.

    Attributes
    ----------
    epoch, batch : int
        The next ones, from 0.
    history : list of dict
        A row for each epoch that is done.
    best : dict
        The highest test accuracy, and its epoch.
    disturbed : bool
        Whether other processes were seen to slow the run down.
    """

    epoch: int = 0
    batch: int = 0
    history: list[Row] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=lambda: {'accuracy': -1.0, 'epoch': -1})
    disturbed: bool = False

    def resume(self, folder: str, engine: Engine, settings: dict[str, Any]) -> bool:
        """Restore the progress and the engine from the newest checkpoint of the run in ``folder``.

        Returns
        -------
        bool
            Whether there was a checkpoint.

        Raises
        ------
        CheckpointError
            If it was made under other ``settings``, or is not of this run.
        """
        checkpoint = checkpoints_of(folder).latest()
        if checkpoint is None:
            return False
        arrays, state = checkpoint
        try:
            state = validate(state, State)
            _check_settings(state['settings'], settings, folder)
            engine.load_state(arrays, state['engine'])
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f'the newest checkpoint in {folder} is not of this run ({error}): start '
                                  'another run with another --save-dir') from None
        # Older checkpoints lack ``disturbed``.
        vars(self).update({name: state['progress'][name] for name in vars(self) if name in state['progress']})
        return True


def _check_settings(saved: dict[str, Any], now: dict[str, Any], folder: str) -> None:
    changed = [f'{key} was {saved.get(key)!r} and is {now.get(key)!r}'
               for key in sorted(set(saved) | set(now)) if saved.get(key) != now.get(key)]
    if changed:
        raise CheckpointError(f'the run in {folder} has other settings: {", ".join(changed)}; repeat them, '
                              'or start another run with another --save-dir')
