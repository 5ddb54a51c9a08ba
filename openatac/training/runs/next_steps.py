"""Print where the files of a finished run are, and which commands come next."""
from __future__ import annotations

import os
import shlex
import shutil
import sys

import numpy as np

from openatac.console import streams
from openatac.files.run_file_names import BEST, LAST, METRICS_CSV, SAMPLE, SUMMARY
from openatac.files.writing import replace_file
from openatac.library import GLUON
from openatac.system.installed import has_mxnet
from openatac.training.checkpoints.checkpoint import checkpoints_of
from openatac.training.config import CifarConfig, Config
from openatac.training.networks.build import library_for


def print_next_steps(config: Config, pixels: np.ndarray) -> None:
    """Print where everything is, and the commands to export the best network, predict with it and compare.

    Parameters
    ----------
    config : CifarConfig or ImagenetConfig
    pixels : numpy.ndarray
        A test image, uint8 (H, W, 3), which is written to sample.png for the prediction.

    Raises
    ------
    CheckpointError
        If sample.png cannot be written.
    """
    from PIL import Image
    folder = config.output.save_dir
    export = config.output.export or os.path.join(folder, 'export')
    sample = os.path.join(folder, SAMPLE)
    with checkpoints_of(folder).writing(), replace_file(sample) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, format='PNG')
    form = [] if library_for(config) is GLUON else ['--onnx']  # the only form that PyTorch's networks have
    commands = [['export', folder, export, *form], ['predict', export, sample]]
    if isinstance(config, CifarConfig):
        commands.append(['compare', os.path.normpath(folder) + '-comparison', '--from', folder])
    elif has_mxnet():
        commands.append(['published', folder])  # compares with the paper
    streams.print_to_stderr(f'Everything is in {folder}: {BEST}, {LAST}, {METRICS_CSV}, {SUMMARY} '
                            'and more. What you can do with it:')
    for command in commands:
        streams.print_to_stderr(f'    {shlex.join([*_program(), *command])}')


def _program() -> list[str]:
    """Return the words that start this installation's ``openatac``; just that name if PATH leads to it."""
    ours = os.path.join(os.path.dirname(sys.executable), 'openatac')
    return ['openatac'] if shutil.which('openatac') == ours else [sys.executable, '-m', 'openatac']
