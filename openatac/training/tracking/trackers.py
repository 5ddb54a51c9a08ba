"""Trackers, to which a run reports: metrics files, a figure, TensorBoard, Weights & Biases.

Trackers receive the history, the rows of all epochs, so a resumed run leaves the same files as an
uninterrupted one.
"""
from __future__ import annotations

import json
import logging
import os
import secrets
from typing import Any

from openatac.errors import OpenatacError
from openatac.figures import write_figure
from openatac.files.csv_file import write_csv
from openatac.files.reading import read_text
from openatac.files.run_file_names import FIGURE, METRICS_CSV, METRICS_JSONL, SUMMARY, WANDB_ID
from openatac.files.writing import write_text
from openatac.system.optional_packages import pip_install
from openatac.training.checkpoints.progress import EpochRow
from openatac.training.run_folder import Summary
from openatac.training.tracking.curves_figure import Panels, curves_figure

log = logging.getLogger('openatac')


class Tracker:
    """Reports a run's progress; each kind overrides what it needs."""

    def interval(self, step: int, values: dict[str, float]) -> None:
        """Report {name: number} after ``step`` iterations, several times per epoch."""

    def epoch(self, history: list[EpochRow]) -> None:
        """Report the rows of all epochs so far, after each epoch."""

    def finish(self, history: list[EpochRow], summary: Summary) -> None:
        """Report all rows and the summary, at the end of the run."""


class MetricsFiles(Tracker):
    """``metrics.jsonl`` and ``metrics.csv`` with a row per epoch, and ``summary.json`` at the end."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def epoch(self, history: list[EpochRow]) -> None:
        write_text(os.path.join(self.folder, METRICS_JSONL),
                   ''.join(json.dumps(row) + '\n' for row in history))
        write_csv(os.path.join(self.folder, METRICS_CSV), list(history[0]), history)

    def finish(self, history: list[EpochRow], summary: Summary) -> None:
        write_text(os.path.join(self.folder, SUMMARY), json.dumps(summary, indent=1) + '\n')


class HistoryFigure(Tracker):
    """``history.png``: error and loss over epochs, drawn when the run ends.

    Parameters
    ----------
    folder, title : str
    evaluated : str
        The name of the evaluation images, such as 'test'.
    """

    def __init__(self, folder: str, title: str, evaluated: str = 'test') -> None:
        self.folder = folder
        self.title = title
        self.evaluated = evaluated
        os.makedirs(folder, exist_ok=True)

    def finish(self, history: list[EpochRow], summary: Summary) -> None:
        splits = {'training (augmented)': 'train', self.evaluated: 'val'}
        panels: Panels = {
            'top-1 error (%)': {name: [100 * (1 - row[split + '_accuracy']) for row in history]
                                for name, split in splits.items()
                                if all(split + '_accuracy' in row for row in history)},
            'loss': {name: [row[split + '_loss'] for row in history] for name, split in splits.items()}}
        write_figure(os.path.join(self.folder, FIGURE), lambda: curves_figure(self.title, panels))


class TensorBoard(Tracker):
    """Scalars for TensorBoard in ``folder``; a resumed run replaces the steps that it repeats."""

    def __init__(self, folder: str, iteration: int) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            install = pip_install('tensorboardX')
            raise OpenatacError(f'--tensorboard needs tensorboardX: run {install}') from None
        self.writer = SummaryWriter(folder, purge_step=iteration + 1)

    def interval(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar('interval/' + name, value, step)

    def epoch(self, history: list[EpochRow]) -> None:
        row = history[-1]
        for name, value in row.items():
            if name not in ('epoch', 'iteration'):
                self.writer.add_scalar(name, value, row['iteration'])
        self.writer.flush()

    def finish(self, history: list[EpochRow], summary: Summary) -> None:
        self.writer.close()


class WeightsAndBiases(Tracker):
    """A Weights & Biases run; ``WANDB_MODE=offline`` keeps it on this machine."""

    def __init__(self, project: str, name: str | None, folder: str, settings: dict[str, Any]) -> None:
        try:
            import wandb
        except ImportError:
            raise OpenatacError(f'--project needs Weights & Biases: run {pip_install("wandb")}') from None
        try:
            self.run = wandb.init(project=project, name=name, dir=folder, config=settings, resume='allow',
                                  id=_run_id(folder))
        except wandb.Error as error:
            raise OpenatacError(f'--project: Weights & Biases cannot start ({str(error).rstrip(".")}): run '
                                'wandb login, or set WANDB_MODE=offline') from None

    def interval(self, step: int, values: dict[str, float]) -> None:
        self.run.log({'interval/' + name: value for name, value in values.items()}, step=step)

    def epoch(self, history: list[EpochRow]) -> None:
        row = history[-1]
        self.run.log({name: value for name, value in row.items() if name != 'iteration'},
                     step=row['iteration'])

    def finish(self, history: list[EpochRow], summary: Summary) -> None:
        self.run.summary.update({key: value for key, value in summary.items() if not isinstance(value, dict)})
        self.run.finish()


def _run_id(folder: str) -> str:
    """Return the run's id, kept in its folder so that a resumed run continues under the same one."""
    path = os.path.join(folder, WANDB_ID)
    if not os.path.exists(path):
        write_text(path, secrets.token_hex(4))
    return read_text(path).strip()
