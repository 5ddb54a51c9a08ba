"""summary.json: what a finished run was, and how well it did."""
from __future__ import annotations

import os
import platform
import statistics
from typing import NamedTuple, cast

import numpy as np

from openatac.files.run_file_names import BEST
from openatac.system.threads import threads_in_environment
from openatac.training.checkpoints.progress import EpochRow, Progress
from openatac.training.config import Config
from openatac.training.loop import TrainingTask
from openatac.training.run_folder import Facts, OptionalEntries, ResultSettings, Summary, Versions
from openatac.version import __version__


class Description(NamedTuple):
    """What a run's files record besides its settings.

    Attributes
    ----------
    command : str
        The command line, for settings.json and the summary.
    title : str
        The title of the figure.
    facts : Facts
        For the summary.
    """

    command: str
    title: str
    facts: Facts


def _final_test(task: TrainingTask) -> OptionalEntries:
    """Return the entries of the summary for the best network on test images that were not used before."""
    if task.test is None:
        return {}
    metrics = task.test(os.path.join(task.folder, BEST))
    top5: OptionalEntries = {} if metrics.top5 is None else {'test_top5_accuracy': metrics.top5}
    return {'test_accuracy': metrics.metric, **top5}


def summarise(config: Config, description: Description, task: TrainingTask, history: list[EpochRow],
              progress: Progress) -> Summary:
    """Return the contents of summary.json for a run that has ended."""
    inexact: OptionalEntries = {'inexact_resumes': progress.inexact} if progress.inexact else {}
    versions = {'openatac': __version__, **task.learner.versions, 'numpy': np.__version__,
                'python': platform.python_version()}
    return {
        'command': description.command, **description.facts, 'act_type': config.network.act_type,
        'attention': config.network.attention, 'useGlobal': config.network.useGlobal,
        'seed': config.training.seed, 'device': str(task.learner.devices),
        'threads': threads_in_environment(), 'epochs': len(history),
        'best_accuracy': progress.best.accuracy, 'best_epoch': progress.best.epoch,
        'last_accuracy': history[-1]['val_accuracy'], **_final_test(task),
        'images_per_second': statistics.median(row['images_per_second'] for row in history),
        'disturbed': progress.disturbed, **inexact,
        # Both have more entries than these types, which hold what is read.
        'settings': cast(ResultSettings, task.settings), 'versions': cast(Versions, versions),
    }
