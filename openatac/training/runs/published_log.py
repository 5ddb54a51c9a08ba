"""The log lines of both published scripts."""
from __future__ import annotations

from openatac.training.checkpoints.progress import EpochRow
from openatac.training.loop import EpochSoFar, LogLines


class CifarLog(LogLines):
    """The lines of the published CIFAR script, plus the progress within an epoch."""

    def interval(self, so_far: EpochSoFar) -> str:
        return (f'Epoch[{so_far.epoch}] Batch [{so_far.batch}/{so_far.batches}]\t'
                f'Speed: {so_far.speed:.1f} samples/sec\taccuracy={so_far.metrics.metric:f}\t'
                f'loss={so_far.metrics.loss:f}\tlr={so_far.learning_rate:g}')

    def epoch(self, row: EpochRow, seconds: float) -> list[str]:
        return [f'[Epoch {row["epoch"]}] train={row["train_accuracy"]:f} val={row["val_accuracy"]:f} '
                f'loss={row["train_loss"]:f} time: {seconds:f}']


class ImagenetLog(LogLines):
    """The lines of the published ImageNet script; ``metric_name`` is 'accuracy' or 'rmse'."""

    def __init__(self, log_interval: int, metric_name: str) -> None:
        super().__init__(log_interval)
        self.metric_name = metric_name

    def interval(self, so_far: EpochSoFar) -> str:
        # As published, only after whole intervals, counting batches from 0.
        if not self.log_interval or so_far.batch % self.log_interval:
            return ''
        return (f'Epoch[{so_far.epoch}] Batch [{so_far.batch - 1}]\t'
                f'Speed: {so_far.speed:f} samples/sec\t{self.metric_name}={so_far.metrics.metric:f}\t'
                f'lr={so_far.learning_rate:f}')

    def epoch(self, row: EpochRow, seconds: float) -> list[str]:
        epoch = row['epoch']
        return [f'[Epoch {epoch}] training: {self.metric_name}={row["train_" + self.metric_name]:f}',
                f'[Epoch {epoch}] speed: {int(row["images_per_second"])} samples/sec\ttime cost: {seconds:f}',
                f'[Epoch {epoch}] validation: err-top1={1 - row["val_accuracy"]:f} '
                f'err-top5={1 - row["val_top5_accuracy"]:f}']
