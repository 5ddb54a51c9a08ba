"""Finished runs of train_cifar.py and train_imagenet.py, read from their folders."""
from __future__ import annotations

import os
import re
from typing import NamedTuple

from openatac.backends.devices import Devices
from openatac.errors import OpenatacError
from openatac.files.reading import open_input
from openatac.files.run_file_names import LOG, SUMMARY
from openatac.training.config import Config
from openatac.training.run_folder import RunFolder, Summary, config_of_summary

IMAGES_PER_STEP = 'images per step'  # in differences between runs; see `FinishedRun.images_per_step`
COLUMNS = {'epoch', 'train_loss', 'val_accuracy'}  # of metrics.csv, at least


class FinishedRun(NamedTuple):
    """A finished run.

    Attributes
    ----------
    folder : str
    config : Config
        With the options that affect the result; the others have their defaults.
    network : str
        The network's name in the zoo.
    unit : str
        The unit in that name, such as 'relu', 'se', 'atac_global' or 'relu@17-17-35-68'.
    devices : Devices
        The devices that it was trained on.
    summary : Summary
        The contents of summary.json.
    history : dict
        {column of metrics.csv: its value after each epoch}
    date : str
        The start date, such as '2026-11-23'; '' if the log lacks it.
    """

    folder: str
    config: Config
    network: str
    unit: str
    devices: Devices
    summary: Summary
    history: dict[str, list[float]]
    date: str = ''

    @property
    def blocks(self) -> int:
        """Blocks per stage, for a run of train_cifar.py."""
        return self.config.network.blocks  # type: ignore[union-attr,return-value]

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.config.training.seed

    @property
    def images_per_step(self) -> int:
        """The number of images per step, over all devices of all processes."""
        return self.config.training.batch_size * self.devices.total

    @property
    def data(self) -> str:
        """A string that identifies the contents of the data sets."""
        return self.summary['settings']['data']


def find_runs(folder: str) -> list[FinishedRun]:
    """Find the finished runs in ``folder`` and its subfolders; raise OpenatacError if there are none."""
    runs = runs_in(folder)
    if not runs:
        raise OpenatacError(f'{folder} holds no finished run: give a folder that does')
    return runs


def runs_in(folder: str) -> list[FinishedRun]:
    """Read the finished runs in ``folder`` and its subfolders; raise OpenatacError for a damaged one."""
    return [read_run(path) for path in sorted(
        path for path, _, files in os.walk(folder) if SUMMARY in files)]


def read_run(folder: str) -> FinishedRun:
    """Read the finished run in ``folder``; raise OpenatacError if there is none, or it is damaged."""
    run = RunFolder(folder)
    try:
        summary, history = run.summary(), run.history()
        if not set(history) >= COLUMNS:
            raise ValueError(f'metrics.csv lacks {", ".join(sorted(COLUMNS - set(history)))}')
        if len(history['epoch']) != summary['epochs']:
            raise ValueError(f'metrics.csv has {len(history["epoch"])} of {summary["epochs"]} epochs')
        config = config_of_summary(summary)
        return FinishedRun(folder, config, *_names(config, summary['model']),
                           Devices.parse(summary['settings']['devices']), summary, history,
                           _date(run.file(LOG)))
    except (OSError, ValueError, TypeError) as error:
        raise OpenatacError(f'{folder} is not the folder of a finished run, or it is damaged or too old '
                            f'({error}): its command with --resume auto completes it') from None


def _date(log: str) -> str:
    try:
        with open_input(log) as file:
            start = file.read(len('2026-11-23')).decode('ascii', 'replace')
    except OSError:
        return ''
    return start if re.fullmatch(r'\d{4}-\d\d-\d\d', start) else ''


def _names(config: Config, model: str) -> tuple[str, str]:
    """Return the names of the network and its unit; in older runs, the model does not name a global gate."""
    from openatac.zoo.names import network_name, unit_name
    network = config.network
    if network.act_type is None:
        raise ValueError('act_type is missing')
    unit = unit_name(network.act_type, network.attention, network.useGlobal, network.self_attention,
                     network.channels)
    if network.host or network.blocks is None:
        return model, unit
    return network_name(config.host, network.blocks, unit), unit
