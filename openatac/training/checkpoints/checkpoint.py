"""Checkpoints from which a run continues exactly, no matter when and how it was stopped.

A checkpoint is a folder with ``arrays.params`` (MXNet's own format), ``state.json`` and, written last,
``manifest.json`` with the SHA-256 of both. It is written under a temporary name, flushed to disk and renamed.
It contains no pickles.
"""
from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from openatac.backends.learner import Arrays
from openatac.backends.state_names import parts
from openatac.errors import CheckpointError, ParameterFileError, reason
from openatac.files.checksums import file_sha256
from openatac.files.mxnet_arrays import read_params, write_params
from openatac.files.run_file_names import CHECKPOINTS
from openatac.files.schema import read_json
from openatac.files.writing import flush, write_text

ARRAYS, STATE, MANIFEST = 'arrays.params', 'state.json', 'manifest.json'
COUNT = 2  # the last and, in case it is damaged, the one before
log = logging.getLogger('openatac')


class Checkpoints:
    """The newest `COUNT` checkpoints of a run, in a folder that is created at the first `save`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return the names of the checkpoints, oldest first."""
        if not os.path.isdir(self.folder):
            return []
        return sorted(name for name in os.listdir(self.folder) if name.isdigit())

    @property
    def in_words(self) -> str:
        """A phrase for error messages that says whether there is a checkpoint."""
        return 'the last checkpoint is kept' if self.names() else 'there is no checkpoint yet'

    def save(self, iteration: int, arrays: Arrays, state: dict[str, Any]) -> None:
        """Save the ``arrays`` and the JSON-serializable ``state`` after ``iteration`` iterations.

        Raises
        ------
        CheckpointError
            If they can't be written, or an array holds a value that is not finite. Earlier checkpoints are
            left unchanged.
        """
        self.check_finite(arrays)
        name = f'{iteration:010d}'
        with self.writing():
            os.makedirs(self.folder, exist_ok=True)
            self._remove(other for other in os.listdir(self.folder)
                         if other.startswith('.') and other[1:].isdigit())
            self._write(name, arrays, state)
            # Later ones do not count: they are damaged, or this run would have continued from them.
            self._remove([other for other in self.names() if other <= name][:-COUNT])

    def check_finite(self, arrays: Arrays) -> None:
        """Raise a CheckpointError, which says how to go on, if an array holds a value that is not finite."""
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise CheckpointError(f'{parts(name)[1] or "the loss"} became infinite or not a number: '
                                      f'{self.in_words}; use a smaller --lr')

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a failure to write a file of the run into a CheckpointError, which says how to go on."""
        try:
            yield
        except OSError as error:
            go_on = 'continue with --resume auto' if self.names() else 'start again'
            raise CheckpointError(f'{error.filename or self.folder} cannot be written ({reason(error)}); '
                                  f'{self.in_words}: free some disk space or repair the folder, then {go_on}'
                                  ) from None

    def _write(self, name: str, arrays: Arrays, state: dict[str, Any]) -> None:
        temporary = os.path.join(self.folder, '.' + name)
        final = os.path.join(self.folder, name)
        try:
            os.mkdir(temporary)
            write_params(os.path.join(temporary, ARRAYS), arrays)
            write_text(os.path.join(temporary, STATE), json.dumps(state, indent=1))
            manifest = {file: file_sha256(os.path.join(temporary, file)) for file in (ARRAYS, STATE)}
            write_text(os.path.join(temporary, MANIFEST), json.dumps(manifest, indent=1))
            flush(temporary)
            if os.path.isdir(final):  # damaged, or made by the same run before it was resumed
                shutil.rmtree(final)
            os.rename(temporary, final)
            flush(self.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            shutil.rmtree(os.path.join(self.folder, name))

    def latest(self) -> tuple[Arrays, dict[str, Any]] | None:
        """Return (arrays, state) of the newest intact checkpoint, or None if there are no checkpoints.

        A damaged checkpoint is skipped with a warning.

        Raises
        ------
        CheckpointError
            If all are damaged.
        """
        names = self.names()
        for name in reversed(names):
            path = os.path.join(self.folder, name)
            try:
                return _read(path)
            except (OSError, ValueError, ParameterFileError) as error:
                log.warning('the checkpoint %s is damaged (%s): using the one before it', path, error)
        if names:
            raise CheckpointError(f'no checkpoint in {self.folder} is intact: start again in another '
                                  '--save-dir')
        return None


def _read(path: str) -> tuple[Arrays, dict[str, Any]]:
    manifest = read_json(os.path.join(path, MANIFEST), dict[str, str])
    for name in (ARRAYS, STATE):
        if manifest.get(name) != file_sha256(os.path.join(path, name)):
            raise ValueError(f'{name} does not match its manifest')
    return read_params(os.path.join(path, ARRAYS)), read_json(os.path.join(path, STATE), dict)


def checkpoints_of(folder: str) -> Checkpoints:
    """Return the `Checkpoints` of the run in ``folder``."""
    return Checkpoints(os.path.join(folder, CHECKPOINTS))
