"""Evaluate parameters for either script, with a log line and a report."""
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from openatac.backends.learner import Learner, Metrics
from openatac.data.batch_source import EvaluationBatchSource
from openatac.data.threads import prefetch
from openatac.evaluation.classification_report import ClassificationReport
from openatac.training.sections.shared import Output

log = logging.getLogger('openatac')


def evaluate_with_report(learner: Learner, batches: EvaluationBatchSource, output: Output,
                         class_names: Sequence[str], line: Callable[[Metrics], str]) -> None:
    """Evaluate on all ``batches``, log the ``line`` of the metrics, and write the requested report.

    Parameters
    ----------
    learner : Learner
    batches : EvaluationBatchSource
    output : Output
        Its ``report`` and ``predictions`` name the files to write.
    class_names : sequence of str
        Empty if they are unknown.
    line : callable
    """
    report = (ClassificationReport(output.report, output.predictions)
              if output.report or output.predictions else None)
    metrics = learner.evaluate(prefetch(batches, batches.ahead), report.outcomes.add if report else None)
    log.info('%s', line(metrics))
    if report:
        for text in report.write(batches.names(), class_names):
            log.info('%s', text)
