"""That a checkpoint is kept is said only where there is one."""
import errno

import numpy as np
import pytest

from openatac.distributed import membership
from openatac.errors import CheckpointError
from openatac.training.checkpoint import check_finite, checkpoints_of, writing_in

GOOD = {'param/a/float32': np.ones(2, 'float32')}
BAD = {'param/a/float32': np.array([1, np.nan], 'float32')}


def fail_to_write(folder):
    with pytest.raises(CheckpointError) as error, writing_in(folder):
        raise OSError(errno.ENOSPC, 'No space left on device')
    return str(error.value)


def fail_to_be_finite(folder):
    with pytest.raises(CheckpointError) as error:
        check_finite(BAD, checkpoints_of(folder))
    return str(error.value)


def fail_to_save(folder):
    with pytest.raises(CheckpointError) as error:
        checkpoints_of(folder).save(2, BAD, {})
    return str(error.value)


@pytest.mark.parametrize('fail', [fail_to_write, fail_to_be_finite, fail_to_save])
def test_what_is_said_of_checkpoints(tmp_path, fail):
    folder = str(tmp_path)
    assert 'no checkpoint yet' in fail(folder) and 'kept' not in fail(folder) and 'resume' not in fail(folder)
    checkpoints_of(folder).save(1, GOOD, {})
    assert 'the last checkpoint is kept' in fail(folder)


def test_processes_that_do_not_know_promise_nothing():
    assert 'if there is one' in membership.ADVICE
