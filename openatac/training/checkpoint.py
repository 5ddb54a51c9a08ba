"""Checkpoints from which a run goes on exactly, whenever and however it was stopped.

A checkpoint is a folder with ``arrays.params`` (MXNet's own format), ``state.json`` and, written
last, ``manifest.json`` with the SHA-256 of both. It is made under a temporary name, flushed to
the disk and renamed. Nothing in it is a pickle.
"""
import contextlib
import fcntl
import json
import logging
import os
import shutil
from typing import Dict

import numpy as np

from openatac.checksums import sha256
from openatac.engines.params_file import read_params, write_params
from openatac.errors import CheckpointError, ParameterFileError
from openatac.files import flush, remove_leftovers
from openatac.schema import read_json

ARRAYS, STATE, MANIFEST = 'arrays.params', 'state.json', 'manifest.json'
log = logging.getLogger('openatac')


class Checkpoints:
    """The checkpoints of one run, in one folder; the newest ``keep`` stay.

    folder : str, made at the first `save`
    """

    def __init__(self, folder, keep=2):
        self.folder, self.keep = folder, keep

    def names(self):
        """Names of the checkpoints, oldest first."""
        if not os.path.isdir(self.folder):
            return []
        return sorted(name for name in os.listdir(self.folder) if name.isdigit())

    def save(self, iteration, arrays, state):
        """Keep {name: numpy.ndarray} and a JSON-able ``state`` reached after ``iteration`` iterations.

        Raises CheckpointError, leaving the earlier checkpoints as they were, if it can't be
        written or if an array holds a value that is not finite.
        """
        check_finite(arrays)
        name = '%010d' % iteration
        with writing_in(self.folder):
            os.makedirs(self.folder, exist_ok=True)
            self._remove(other for other in os.listdir(self.folder)
                         if other.startswith('.') and other[1:].isdigit())
            self._write(name, arrays, state)
            # Later ones are damaged, or this run would have gone on from them: they do not count.
            self._remove([other for other in self.names() if other <= name][:-self.keep])

    def _write(self, name, arrays, state):
        temporary, final = os.path.join(self.folder, '.' + name), os.path.join(self.folder, name)
        try:
            os.mkdir(temporary)
            write_params(os.path.join(temporary, ARRAYS), arrays)
            _write_json(os.path.join(temporary, STATE), state)
            _write_json(os.path.join(temporary, MANIFEST),
                        {file: sha256(os.path.join(temporary, file)) for file in (ARRAYS, STATE)})
            flush(temporary)
            if os.path.isdir(final):  # damaged, or made by the same run before it was resumed
                shutil.rmtree(final)
            os.rename(temporary, final)
            flush(self.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _remove(self, names):
        for name in names:
            shutil.rmtree(os.path.join(self.folder, name))

    def latest(self):
        """(arrays, state) of the newest whole checkpoint, or None if there is none at all.

        A damaged one is named in a warning and the one before it is taken. Raises
        CheckpointError if all are damaged.
        """
        names = self.names()
        for name in reversed(names):
            path = os.path.join(self.folder, name)
            try:
                return _read(path)
            except (OSError, ValueError, ParameterFileError) as error:
                log.warning('the checkpoint %s is damaged (%s): taking the one before it', path, error)
        if names:
            raise CheckpointError('no checkpoint in %s is whole: start anew in another --save-dir'
                                  % self.folder)
        return None


def _read(path):
    manifest = read_json(os.path.join(path, MANIFEST), Dict[str, str])
    for name in (ARRAYS, STATE):
        if manifest.get(name) != sha256(os.path.join(path, name)):
            raise ValueError('%s is not what its manifest says' % name)
    return read_params(os.path.join(path, ARRAYS)), read_json(os.path.join(path, STATE), dict)


def _write_json(path, value):
    with open(path, 'w', encoding='utf-8') as handle:
        json.dump(value, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())


def check_finite(arrays):
    """Raise CheckpointError if an array of {name: numpy.ndarray} holds a value that is not finite."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError('%s became infinite or not a number: the last checkpoint is kept; use a '
                                  'smaller --lr' % name.split('/')[1])


@contextlib.contextmanager
def writing_in(folder):
    """Turn a failure to write in ``folder`` into a CheckpointError."""
    try:
        yield
    except OSError as error:
        raise CheckpointError('%s cannot be written (%s); the last checkpoint is intact: make room or mend '
                              'the folder, then go on with --resume auto'
                              % (error.filename or folder, error.strerror)) from None


@contextlib.contextmanager
def only_run_in(folder):
    """Hold ``folder`` for this process; CheckpointError if another run has it or it can't be written."""
    try:
        os.makedirs(folder, exist_ok=True)
        handle = open(os.path.join(folder, '.lock'), 'w')
    except OSError as error:
        raise CheckpointError('%s cannot be written (%s): choose another folder'
                              % (folder, error.strerror)) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CheckpointError('another run is using %s: choose another folder, or wait for its end'
                                  % folder) from None
        with writing_in(folder):
            remove_leftovers(folder)
        yield
