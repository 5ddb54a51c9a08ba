"""Errors claim that a checkpoint is kept only if there is one."""
import errno

import numpy as np
import pytest

from openatac.errors import CheckpointError
from openatac.training.checkpoints.checkpoint import checkpoints_of

GOOD = {'parameter/a/0': np.ones(2, 'float32')}
BAD = {'parameter/a/0': np.array([1, np.nan], 'float32')}


def fail_to_write(folder):
    with pytest.raises(CheckpointError) as error, checkpoints_of(folder).writing():
        raise OSError(errno.ENOSPC, 'No space left on device')
    return str(error.value)


def fail_to_be_finite(folder):
    with pytest.raises(CheckpointError) as error:
        checkpoints_of(folder).check_finite(BAD)
    return str(error.value)


def fail_to_save(folder):
    with pytest.raises(CheckpointError) as error:
        checkpoints_of(folder).save(2, BAD, {})
    return str(error.value)


@pytest.mark.parametrize('fail', [fail_to_write, fail_to_be_finite, fail_to_save])
def test_error_says_what_is_saved_at_that_time(tmp_path, fail):
    folder, checkpoints = str(tmp_path), checkpoints_of(str(tmp_path))
    nothing = checkpoints.in_words
    assert nothing in fail(folder)
    checkpoints.save(1, GOOD, {})
    assert checkpoints.in_words in fail(folder) and nothing not in fail(folder)


def test_resuming_is_suggested_only_with_a_checkpoint(tmp_path):
    folder = str(tmp_path)
    assert '--resume' not in fail_to_write(folder)
    checkpoints_of(folder).save(1, GOOD, {})
    assert '--resume auto' in fail_to_write(folder)
