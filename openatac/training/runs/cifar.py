"""The run of train_cifar.py."""
from __future__ import annotations

import os

import numpy as np

from openatac.backends.learner import Learner, Metrics, crc32_of
from openatac.backends.process_group import ProcessGroup
from openatac.data.batch_source import EvaluationBatchSource, TrainingBatchSource
from openatac.data.small.image_set import ImageSet
from openatac.training import loop
from openatac.training.config import CifarConfig
from openatac.training.datasets.cifar import BackgroundReader
from openatac.training.networks.build import BuiltNetwork
from openatac.training.run_folder import DatasetName
from openatac.training.runs.published_log import CifarLog
from openatac.training.runs.run import Run
from openatac.training.schedule import step_schedule
from openatac.training.sections.cifar import CifarTraining


class CifarRun(Run[CifarConfig, ImageSet]):
    """A run on small images, which fit into memory; ``reader`` reads them."""

    falls_back_to_cpu = True  # as published

    def __init__(self, built: BuiltNetwork[CifarConfig], command: str, process_group: ProcessGroup,
                 reader: BackgroundReader) -> None:
        super().__init__(built, command, process_group)
        self.reader = reader

    def schedule(self, training: CifarTraining, image_count: int) -> loop.Schedule:
        return {loop.LEARNING_RATE: step_schedule(
            training.lr, training.num_epochs, image_count // self.images_per_step, training.decay_epochs,
            training.lr_decay)}

    # ---------------------------------------------------------------------------------- images

    def open_images(self) -> tuple[ImageSet, ImageSet]:
        return self.reader.both()

    def open_test_images(self) -> ImageSet:
        return self.reader.test()

    def training_batches(self, images: ImageSet) -> TrainingBatchSource:
        return self.backend.training_batches(images, self.images_per_step, self.config.training.seed)

    def evaluation_batches(self, images: ImageSet) -> EvaluationBatchSource:
        return self.backend.evaluation_batches(images, self.images_per_step)

    def fingerprint(self, images: ImageSet) -> str:
        # Of the labels and every 50th image: all would take as long as reading them.
        return f'{len(images)}:{crc32_of([images.labels, np.ascontiguousarray(images.images[::50])]):08x}'

    def sample(self, images: ImageSet) -> np.ndarray:
        return images.images[0].transpose(1, 2, 0)

    # ------------------------------------------------------------------------- log and summary

    @property
    def dataset(self) -> DatasetName:
        return self.config.data.dataset

    @property
    def images_name(self) -> str:
        data = self.config.data
        return os.path.basename(os.path.abspath(str(data.data_dir))) if data.has_own_images else data.dataset

    def log_lines(self, learner: Learner) -> CifarLog:
        return CifarLog(self.config.output.log_interval)

    @property
    def kept_epochs(self) -> loop.KeptEpochs:
        return loop.KeptEpochs(self.config.output.save_period)

    def metrics_text(self, metrics: Metrics) -> str:
        return f'accuracy={metrics.metric:f} loss={metrics.loss:f} on {metrics.image_count} test images'
