"""The run of train_imagenet.py."""
from __future__ import annotations

import logging
import os
import shlex
from typing import Any

import numpy as np

from openatac.backends.base import Backend
from openatac.backends.kvstore_names import SINGLE_PROCESS_STORE
from openatac.backends.learner import Learner, Metrics
from openatac.backends.objective import ObjectiveSettings
from openatac.backends.teacher import Teacher
from openatac.data.images.source import ImageCollection, ImageSource
from openatac.data.photos.batches import EvaluationPhotoBatches, TrainingPhotoBatches, first_iteration
from openatac.errors import DeviceError, ParameterFileError
from openatac.files.mxnet_arrays import read_params
from openatac.training import loop
from openatac.training.checkpoints.progress import Progress
from openatac.training.config import ImagenetConfig
from openatac.training.datasets.imagenet import first_readable, open_both_splits, open_photos
from openatac.training.runs.published_log import ImagenetLog
from openatac.training.runs.run import Run
from openatac.training.schedule import warmup_schedule
from openatac.training.sections.imagenet import IMAGENET_CLASSES, SMOOTHING, ImagenetTraining

log = logging.getLogger('openatac')


class ImagenetRun(Run[ImagenetConfig, ImageCollection]):
    """A run on photographs, which worker processes read from folders or record files."""

    falls_back_to_cpu = False
    counts_top5 = True
    log_format = '%(message)s'

    def open_backend(self) -> Backend:
        try:
            return super().open_backend()
        except DeviceError as error:
            raise DeviceError(f'{error}; on a CPU (slow: a few images per second) the command is: '
                              f'{cpu_command(self.command)}') from None

    def objective(self, image_count: int) -> ObjectiveSettings:
        training, classes = self.config.training, self.config.classes
        teacher = None
        if training.teacher and training.hard_weight < 1:
            teacher = self.backend.load_teacher(Teacher(training.teacher, training.teacher_params, classes))
        return {
            'classes': classes, 'smoothing': SMOOTHING if training.label_smoothing else 0.0,
            'mixup': training.mixup_alpha if training.mixup else 0.0,
            'mixup_iterations': self._mixup_end(training, image_count),
            'teacher': teacher, 'temperature': training.temperature, 'hard_weight': training.hard_weight}

    def settings(self, learner: Learner, contents: str) -> dict[str, Any]:
        kvstore = self.config.training.kvstore if self.process_group.size > 1 else SINGLE_PROCESS_STORE
        return {**super().settings(learner, contents), 'kvstore': kvstore}

    def begin(self, learner: Learner, image_count: int) -> Progress:
        """Return the progress at --resume-epoch, with the optimizer states of --resume-states."""
        start, epochs = self.config.start, self.config.training.num_epochs
        scheduled = image_count // self.images_per_step * epochs
        iterations = self._first_iteration(epochs, image_count)
        if iterations > 1.01 * scheduled:
            log.info('the schedule ends after %d of %d iterations, as the published one does; the last rate '
                     'is kept from then on', scheduled, iterations)
        progress = Progress()
        progress.epoch = start.resume_epoch
        learner.iteration = self._first_iteration(progress.epoch, image_count)
        if start.resume_states:
            _load_optimizer_states(learner, start.resume_states)
        return progress

    def schedule(self, training: ImagenetTraining, image_count: int) -> loop.Schedule:
        # As published, with images // batch iterations per epoch; some epochs have one more.
        mixup_end = self._mixup_end(training, image_count)
        return {
            loop.LEARNING_RATE: warmup_schedule(
                training.lr_mode, training.lr, training.num_epochs, image_count // self.images_per_step,
                training.warmup_epochs, training.warmup_lr, training.decay_epochs, training.lr_decay),
            'mixup': lambda iteration: training.mixup and iteration < mixup_end}

    def _mixup_end(self, training: ImagenetTraining, image_count: int) -> int:
        """Return the iteration at which mixup ends."""
        return self._first_iteration(training.num_epochs - training.mixup_off_epoch, image_count)

    def _first_iteration(self, epoch: int, image_count: int) -> int:
        return first_iteration(epoch, image_count, self.images_per_step)

    # ---------------------------------------------------------------------------------- images

    def open_images(self) -> tuple[ImageCollection, ImageCollection]:
        return open_both_splits(self.config.data, self.config.classes)

    def open_test_images(self) -> ImageCollection:
        return open_photos(self.config.data, self.config.classes, train=False)

    def training_batches(self, images: ImageSource) -> TrainingPhotoBatches:
        data = self.config.data
        return TrainingPhotoBatches(
            images, data.input_size, self.images_per_step, self.config.training.seed, data.num_workers,
            self.process_group.share, max_bad_share=data.max_bad_share)

    def evaluation_batches(self, images: ImageSource) -> EvaluationPhotoBatches:
        data = self.config.data
        return EvaluationPhotoBatches(images, data.input_size, self.images_per_step,
                                      data.effective_crop_ratio,
                                      data.num_workers, self.process_group.share, data.max_bad_share)

    def fingerprint(self, images: ImageCollection) -> str:
        return images.fingerprint()

    def sample(self, images: ImageSource) -> np.ndarray:
        return first_readable(images)

    # ------------------------------------------------------------------------- log and summary

    dataset = 'imagenet'

    @property
    def images_name(self) -> str:
        data = self.config.data
        if self.config.classes == IMAGENET_CLASSES:
            return 'ImageNet'
        folder = os.path.dirname(data.rec_train) if data.use_rec else data.data_dir
        return os.path.basename(os.path.abspath(folder))

    @property
    def log_file(self) -> str:
        return self.config.output.logging_file

    def log_lines(self, learner: Learner) -> ImagenetLog:
        return ImagenetLog(self.config.output.log_interval, learner.objective.metric_name)

    @property
    def kept_epochs(self) -> loop.KeptEpochs:
        return loop.KeptEpochs(self.config.output.save_frequency,
                               lambda epoch: f'imagenet-{self.name}-{epoch - 1}', with_states=True)

    def metrics_text(self, metrics: Metrics) -> str:
        assert metrics.top5 is not None
        return (f'err-top1={1 - metrics.metric:f} err-top5={1 - metrics.top5:f} loss={metrics.loss:f} on '
                f'{metrics.image_count} images')


def cpu_command(command: str) -> str:
    """Return the command, changed to run on the CPU in float32."""
    words = shlex.split(command)
    kept = []
    while words:
        word = words.pop(0)
        if word.split('=')[0] in ('--num-gpus', '--dtype', '--loss-scale'):
            if '=' not in word and words:
                words.pop(0)
        elif word != '--syncbn':
            kept.append(word)
    python = 'python ' if kept[0].endswith('.py') else ''
    return f'{python}{shlex.join(kept)} --num-gpus 0 --dtype float32'


def _load_optimizer_states(learner: Learner, path: str) -> None:
    """Load the file of --resume-states into the learner."""
    if not os.path.isfile(path):
        raise ParameterFileError(f'--resume-states: there is no file {path}')
    try:
        learner.load_optimizer_states(read_params(path))
    except (KeyError, ValueError, ParameterFileError):
        raise ParameterFileError(
            f'{path} holds no optimizer states of this network: --resume-states takes the .states files that '
            "this script writes (not those of the authors' script, which are pickles)") from None
