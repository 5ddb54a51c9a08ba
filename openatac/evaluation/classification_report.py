"""Write the report and the predictions of an evaluation, whatever computed the outputs."""
from __future__ import annotations

import collections
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from openatac.evaluation.confusion_figure import confusion_figure
from openatac.evaluation.outcomes import CALIBRATION_BINS, Bin, Outcomes
from openatac.figures import write_figure
from openatac.files.csv_file import csv_text, write_csv
from openatac.files.writing import check_writable, write_text, writing
from openatac.text import printable

HARDEST = 3  # how many classes the log names


class ClassificationReport:
    """Collects the outcomes of an evaluation, and writes the files for ``--report`` and ``--predictions``.

    Parameters
    ----------
    folder : str, optional
        The folder of the report; created if missing.
    predictions : str, optional
        A CSV file with a row for each image.

    Raises
    ------
    OpenatacError
        If either path is not writable, checked before an evaluation that can take hours.
    """

    def __init__(self, folder: str | None, predictions: str | None) -> None:
        self.folder = folder
        self.predictions = predictions
        self.outcomes = Outcomes()
        if folder:
            with writing(f'--report: {folder}', 'choose another folder'):
                check_writable(os.path.join(folder, 'report.json'))
        if predictions:
            with writing(f'--predictions: {predictions}', 'choose another file'):
                check_writable(predictions)

    def write(self, image_names: Sequence[str], class_names: Sequence[str]) -> list[str]:
        """Write the files; return log lines that summarise them.

        Parameters
        ----------
        image_names : sequence of str
        class_names : sequence of str
            The names of the classes 0, 1, ..., where known.
        """
        outcomes, lines = self.outcomes, []
        most = max((outcomes.labels.max(), outcomes.predicted.max(), len(class_names) - 1))
        names = _distinct([printable(name) for name in class_names], int(most) + 1)
        if self.predictions:
            with writing(f'--predictions: {self.predictions}', 'choose another'):
                write_csv(self.predictions, ('image', 'label', 'predicted', 'score', 'correct'), (
                    {'image': printable(image), 'label': names[label], 'predicted': names[predicted],
                     'score': f'{score:.6f}', 'correct': int(label == predicted)}
                    for image, label, predicted, score in zip(
                        image_names, outcomes.labels, outcomes.predicted, outcomes.scores)))
            lines.append(f'wrote {len(outcomes)} predictions to {self.predictions}')
        if self.folder:
            with writing(f'--report: {self.folder}', 'choose another folder'):
                lines = [*_write_folder(self.folder, outcomes, names), *lines]
        return lines


def _distinct(names: Sequence[str], count: int) -> list[str]:
    """Return ``count`` distinct names: numbers for unknown ones, and numbers after shared ones."""
    names = [*names, *map(str, range(len(names), count))]
    counts = collections.Counter(names)
    return [f'{name} ({index})' if counts[name] > 1 else name for index, name in enumerate(names)]


def _write_folder(folder: str, outcomes: Outcomes, names: Sequence[str]) -> list[str]:
    """Write the files of a report; return lines for the log."""
    matrix = outcomes.confusion(len(names))
    rows = _class_rows(matrix, names)
    error = outcomes.calibration_error()
    write_csv(os.path.join(folder, 'classes.csv'), list(rows[0]), rows)
    write_text(os.path.join(folder, 'confusion.csv'), csv_text([
        ['label', *names], *([name, *row.tolist()] for name, row in zip(names, matrix))]))
    write_csv(os.path.join(folder, 'calibration.csv'), Bin._fields,
              ({name: round(value, 6) for name, value in each._asdict().items()}
               for each in outcomes.calibration()))
    write_figure(os.path.join(folder, 'confusion.png'), lambda: confusion_figure(matrix, names))
    write_text(os.path.join(folder, 'report.json'), json.dumps({
        'images': len(outcomes), 'accuracy': float(outcomes.correct.mean()),
        'top5_accuracy': float((outcomes.ranks < 5).mean()), 'loss': float(outcomes.losses.mean()),
        'mean_score': float(outcomes.scores.mean()), 'expected_calibration_error': error,
        'bins': CALIBRATION_BINS,
    }, indent=1) + '\n')
    hardest = sorted((row for row in rows if row['images']), key=lambda row: row['accuracy'])[:HARDEST]
    lowest = ', '.join(f'{row["name"]} {row["accuracy"]:.4f}' for row in hardest)
    return [f'expected calibration error {error:.4f} ({CALIBRATION_BINS} bins); lowest accuracies: {lowest}',
            f'wrote the report to {folder}']


def _class_rows(matrix: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each class: its images, its accuracy and its most frequent confusion."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    images = matrix.sum(axis=1)
    predicted = matrix.sum(axis=0)
    correct = matrix.diagonal()
    return [{'class': index, 'name': name, 'images': images[index], 'correct': correct[index],
             'accuracy': round(correct[index] / images[index], 6) if images[index] else '',
             'predicted': predicted[index],
             'taken_for': names[wrong[index].argmax()] if wrong[index].any() else ''}
            for index, name in enumerate(names)]
