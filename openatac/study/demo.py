"""The demo: three units trained on handwritten digits, compared and exported."""
from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING

from openatac.errors import OpenatacError
from openatac.figures import write_figure
from openatac.files.run_file_names import LAST, SUMMARY
from openatac.study.comparison.comparison import Comparison, Group, group_runs
from openatac.study.comparison.error_figure import comparison_curves
from openatac.study.comparison.training_queue import TRAIN_CIFAR
from openatac.study.finished_runs import read_run
from openatac.text import text_table
from openatac.zoo.units import ATAC

if TYPE_CHECKING:
    from openatac.inference.predictor import Prediction

UNITS: dict[str, list[str]] = {  # name -> flags of train_cifar.py
    'ReLU': ['--act-type', 'relu'],
    'global gate': ['--act-type', ATAC, '--useGlobal'],
    'ATAC': ['--act-type', ATAC],
}
TRAINED = 'cifar_resnet8_v2_atac'  # one of `openatac.zoo.weights.pretrained`
HEADER = ('unit', 'parameters', 'multiply-adds', 'best test acc.', 'last test acc.', 'images/s')


def train(unit: str, folder: str) -> Group:
    """Train a unit of UNITS with train_cifar.py, resuming where an interrupted demo stopped.

    Returns
    -------
    Group
        With this one run.

    Raises
    ------
    OpenatacError
        If the training fails.
    """
    if os.path.exists(os.path.join(folder, SUMMARY)):
        shutil.rmtree(folder)  # left by an earlier demo that finished
    command = [*TRAIN_CIFAR, '--recipe', 'digits', *UNITS[unit], '--save-dir', folder, '--resume', 'auto']
    if subprocess.run(command).returncode:
        raise OpenatacError(f'training {unit} failed (see above), so the demo stops')
    return group_runs([read_run(folder)])[0]


def units_table(runs: Mapping[str, Group]) -> str:
    """Return a text table that compares {unit: its run}."""
    rows = [HEADER]
    for unit, group in runs.items():
        summary = group.runs[0].summary
        rows.append((unit, f'{group.parameters:,}', f'{group.multiply_adds:,}',
                     f'{summary["best_accuracy"]:.4f}', f'{summary["last_accuracy"]:.4f}',
                     f'{summary["images_per_second"]:.0f}'))
    return text_table(rows)


def draw(path: str, runs: Mapping[str, Group]) -> None:
    """Draw the curves of {unit: its run} into the figure file ``path``."""
    write_figure(path, lambda: comparison_curves(Comparison([*runs.values()]), blocks=1))


def classify() -> list[Prediction]:
    """Classify scikit-learn's photograph of a flower with the package's trained ATAC network."""
    import sklearn

    from openatac.inference.predictor import load
    photo = os.path.join(os.path.dirname(sklearn.__file__), 'datasets', 'images', 'flower.jpg')
    return load(TRAINED)(photo, top=3)


def export_last(group: Group, prefix: str) -> float:
    """Export a run's last network as symbol files; return the largest difference of their outputs."""
    from openatac.export.exporter import export
    from openatac.export.forms.base import FORMS, ExportSettings
    from openatac.trained.trained_network import load_run
    folder = group.runs[0].folder
    trained = load_run(folder, os.path.join(folder, LAST))
    manifest = export(trained.net, prefix, trained.manifest, ExportSettings([FORMS.find('symbol')]))
    return manifest.reports['symbol']['max_difference']
