"""A run of either script: the steps from a config to a trained network in a folder, or to its accuracy."""
from __future__ import annotations

import abc
import functools
import logging
from typing import Any, ClassVar, Generic

import numpy as np

from openatac.backends.base import Backend, open_backend
from openatac.backends.learner import Learner, Metrics
from openatac.backends.objective import ObjectiveSettings
from openatac.backends.process_group import ProcessGroup
from openatac.console.log import LOG_FORMAT
from openatac.data.batch_source import EvaluationBatchSource, TrainingBatchSource
from openatac.data.threads import prefetch
from openatac.training import loop
from openatac.training.checkpoints.progress import Progress
from openatac.training.config import AnyConfig, result_settings
from openatac.training.datasets.splits import Images, split_images
from openatac.training.networks.build import BuiltNetwork
from openatac.training.networks.initial_values import initialize
from openatac.training.run_folder import DatasetName, Summary
from openatac.training.runs.evaluation import evaluate_with_report
from openatac.training.runs.next_steps import print_next_steps
from openatac.training.runs.recorded_training import train_and_record
from openatac.training.runs.run_reservation import reserve_run_folder
from openatac.training.runs.run_summary import Description
from openatac.zoo.weights.pretrained import resolve_parameter_file

log = logging.getLogger('openatac')


class Run(abc.ABC, Generic[AnyConfig, Images]):
    """A network to train or to evaluate on the images of a config; each script has its subclass.

    Parameters
    ----------
    built : BuiltNetwork
        With the config.
    command : str
        The command line.
    process_group : ProcessGroup
        The processes that train together.
    """

    falls_back_to_cpu: ClassVar[bool]  # whether the CPU is used where there is no GPU
    counts_top5: ClassVar[bool] = False
    log_format: ClassVar[str] = LOG_FORMAT

    def __init__(self, built: BuiltNetwork[AnyConfig], command: str, process_group: ProcessGroup) -> None:
        self.net = built.net
        self.name = built.name
        self.config = built.config
        self.command = command
        self.process_group = process_group

    # ------------------------------------------------------------------------------- the steps

    def train(self) -> Summary | None:
        """Train the network; return the summary, None for a dry run."""
        config, training, group = self.config, self.config.training, self.process_group
        with reserve_run_folder(config, self.command, self.log_file, self.log_format, group.rank):
            self.check_devices()  # before the images are read
            sources = self.open_images()
            log.info('%d training and %d %s images', *map(len, sources), config.data.test_name)
            splits = split_images(*sources, training)
            image_count = len(splits.training)
            batches = self.training_batches(splits.training)
            evaluation = self.evaluation_batches(splits.evaluation)
            learner = self.initial_learner(image_count)
            settings = self.settings(learner, '+'.join(map(self.fingerprint, sources)))
            schedule_of = functools.partial(self.schedule, image_count=image_count)
            task = loop.TrainingTask(
                learner=learner, training=batches, evaluation=evaluation,
                test=functools.partial(self._test, splits.test) if splits.has_held_out_images else None,
                schedule=schedule_of(training), epochs=training.num_epochs,
                folder=config.output.save_dir, settings=settings, lines=self.log_lines(learner),
                kept=self.kept_epochs)
            progress = self.begin(learner, image_count)
            if group.size > 1:
                group.check_alike({**settings, 'initial_values': learner.checksum()})
            description = Description(self.command, f'{self.name} on {self.images_name}', {
                'model': self.name, 'dataset': self.dataset, **splits.counts()})
            summary = train_and_record(task, schedule_of, progress, config, description)
            if summary and group.is_writer:
                print_next_steps(config, self.sample(splits.test))
            return summary

    def evaluate(self) -> int:
        """Log the accuracy of the parameters in ``config.start.evaluate`` on the test images.

        Returns
        -------
        int
            How many images could not be read, and were left out.
        """
        assert self.config.start.evaluate is not None
        path = resolve_parameter_file(self.config.start.evaluate)
        learner = self._learner_with(path)
        images = self.open_test_images()
        batches = self.evaluation_batches(images)
        evaluate_with_report(learner, batches, self.config.output, images.class_names,
                             lambda metrics: f'{path}: {self.metrics_text(metrics)}')
        return batches.left_out

    def _test(self, images: Images, path: str) -> Metrics:
        """Evaluate the parameters in ``path`` on ``images``."""
        learner = self._learner_with(path)
        batches = self.evaluation_batches(images)
        return learner.evaluate(prefetch(batches, batches.ahead))

    def _learner_with(self, path: str) -> Learner:
        self.backend.load(path)
        return self.backend.learner(self.config.training.optimizer, {}, top5=self.counts_top5)

    # --------------------------------------------------------------------- network and settings

    @functools.cached_property
    def backend(self) -> Backend:
        """The backend with the network, opened when it is first used."""
        return self.open_backend()

    def check_devices(self) -> None:
        """Open the backend, which raises DeviceError for a missing GPU."""
        _ = self.backend

    def open_backend(self) -> Backend:
        """Open the backend."""
        config = self.config
        return open_backend(self.net, config.compute, config.image_shape, config.training.seed,
                            config.training.gpus, self.falls_back_to_cpu, self.process_group)

    @property
    def images_per_step(self) -> int:
        """The number of images per step, over all devices of all processes."""
        return self.config.training.batch_size * self.backend.device_count * self.process_group.size

    def initial_learner(self, image_count: int) -> Learner:
        """Return the learner of a run on ``image_count`` images, with the network's initial values."""
        training = self.config.training
        objective = self.objective(image_count)
        self.initialize()  # after a teacher, which uses MXNet's random state too
        return self.backend.learner(training.optimizer, objective, training.no_wd, self.counts_top5)

    def objective(self, image_count: int) -> ObjectiveSettings:
        """Return the settings of the objective for ``image_count`` training images."""
        return {}

    def initialize(self) -> None:
        """Give the network its initial values."""
        initialize(self.backend, self.net, self.config)

    def settings(self, learner: Learner, contents: str) -> dict[str, Any]:
        """Return {name: value} of everything that the result depends on, including the images' contents."""
        return result_settings(self.config, str(learner.devices), contents)

    def begin(self, learner: Learner, image_count: int) -> Progress:
        """Return the progress at the start of a run on ``image_count`` images."""
        return Progress()

    @abc.abstractmethod
    def schedule(self, training: Any, image_count: int) -> loop.Schedule:
        """Return the schedule of a training section, this run's or a checkpoint's.

        ``image_count`` is the number of training images.
        """

    # ---------------------------------------------------------------------------------- images

    @abc.abstractmethod
    def open_images(self) -> tuple[Images, Images]:
        """Return the training and the test images."""

    @abc.abstractmethod
    def open_test_images(self) -> Images:
        """Return the test images."""

    @abc.abstractmethod
    def training_batches(self, images: Images) -> TrainingBatchSource:
        """Return batches of training images."""

    @abc.abstractmethod
    def evaluation_batches(self, images: Images) -> EvaluationBatchSource:
        """Return batches of all ``images``, for an evaluation."""

    @abc.abstractmethod
    def fingerprint(self, images: Images) -> str:
        """Return a text that identifies the contents of the images."""

    @abc.abstractmethod
    def sample(self, images: Images) -> np.ndarray:
        """Return the pixels, uint8 (H, W, 3), of one of the images."""

    # ------------------------------------------------------------------------- log and summary

    @property
    def log_file(self) -> str | None:
        """The path of the log; None for the run's folder."""
        return None

    @property
    @abc.abstractmethod
    def dataset(self) -> DatasetName:
        """The data set, for summary.json."""

    @property
    @abc.abstractmethod
    def images_name(self) -> str:
        """The name of the images, for a figure's title."""

    @abc.abstractmethod
    def log_lines(self, learner: Learner) -> loop.LogLines:
        """Return the lines of the log."""

    @property
    @abc.abstractmethod
    def kept_epochs(self) -> loop.KeptEpochs:
        """The epochs whose parameters are kept."""

    @abc.abstractmethod
    def metrics_text(self, metrics: Metrics) -> str:
        """Return the end of the log line of an evaluation."""
