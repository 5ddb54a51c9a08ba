"""The folder of a run while it trains: reserved for one process, with the log of the run."""
from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from openatac.console.log import LOG_FORMAT, log_to
from openatac.errors import CheckpointError
from openatac.files.reserved_folder import reserved_folder
from openatac.files.run_file_names import LOG
from openatac.files.writing import writing
from openatac.training.checkpoints.checkpoint import checkpoints_of
from openatac.training.config import Config
from openatac.training.runs.first_lines import first_lines

log = logging.getLogger('openatac')


@contextlib.contextmanager
def reserve_run_folder(config: Config, command: str, log_file: str | None = None,
                       log_format: str = LOG_FORMAT, rank: int = 0) -> Iterator[None]:
    """Reserve the run's folder for this process, and begin its log; ranks other than 0 leave both alone.

    Raises
    ------
    OpenatacError
        If the folder is in use, holds a run that the config does not resume, or can't be written.
    """
    if rank > 0:
        log.setLevel(logging.WARNING)
        yield
        return
    folder, plots = config.output.save_dir, config.output.save_plot_dir
    with reserved_folder(folder, 'run'):
        path = log_file or os.path.join(folder, LOG)
        with writing(f'{"--logging-file" if log_file else "--save-dir"}: {path}', 'choose another'):
            log_to(path, log_format)
        if plots:
            with writing(f'--save-plot-dir: {plots}', 'choose another'):
                os.makedirs(plots, exist_ok=True)
        log.info('%s', command)
        for line in first_lines(config):
            log.info('%s', line)
        _warn_of_decays(config)
        if config.start.resume == 'never' and checkpoints_of(folder).names():
            raise CheckpointError(f'{folder} already holds a run: continue it with --resume auto, or choose '
                                  'another --save-dir')
        yield


def _warn_of_decays(config: Config) -> None:
    """Warn of epochs at which the rate would decay if the run were longer."""
    training = config.training
    late = [epoch for epoch in training.decay_epochs or [training.lr_decay_period]
            if epoch >= training.num_epochs]
    if late and training.lr_mode == 'step':
        flag = '--lr-decay-period' if training.lr_decay_period else '--lr-decay-epoch'
        log.warning('%s: the rate does not decay at %s, as the run ends after --num-epochs %d', flag,
                    ', '.join(f'epoch {epoch}' for epoch in late), training.num_epochs)
