"""A lock excludes others, whatever happens to its file, and ends with its process."""
import contextlib
import os
import sys
import threading
import time

import pytest

from openatac.files.locks import locked
from tests.helpers.processes.fresh_python import run_python


def test_lock_through_a_link_keeps_the_target(tmp_path):
    (tmp_path / 'real').write_text('kept')
    os.symlink('real', tmp_path / '.lock')
    with locked(str(tmp_path / '.lock')), pytest.raises(BlockingIOError), locked(str(tmp_path / '.lock')):
        pass
    assert (tmp_path / 'real').read_text() == 'kept'


def test_lock_follows_the_name_and_not_a_renamed_file(tmp_path):
    path = tmp_path / 'a.part'
    with locked(str(path)) as first:
        path.rename(tmp_path / 'a')  # as a writer does when it has finished
        with locked(str(path)) as second:
            assert os.fstat(first.fileno()).st_ino != os.fstat(second.fileno()).st_ino
            assert os.path.samestat(os.fstat(second.fileno()), os.stat(path))


@pytest.mark.parametrize('wait', [True, False])
def test_removed_lock_still_excludes_others(tmp_path, wait):
    # Each thread opens the file separately, so that the system locks it as between processes.
    path, inside, entered, together = str(tmp_path / '.lock'), [], [], []

    def enter_often(name):
        for _ in range(300):
            with contextlib.suppress(BlockingIOError), locked(path, wait, remove=True):
                inside.append(name)
                entered.append(name)
                time.sleep(0)  # lets the other threads try
                together.append(len(inside))
                inside.remove(name)

    threads = [threading.Thread(target=enter_often, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(together) == {1} and os.listdir(tmp_path) == []
    assert len(entered) == 6 * 300 if wait else entered


def test_lock_removed_by_its_user_is_not_removed_again(tmp_path):
    path = tmp_path / '.lock'
    with locked(str(path), remove=True):
        path.unlink()
        with locked(str(path)):
            pass
    assert path.exists()  # the other's lock


def test_fifo_as_a_lock_is_refused(tmp_path):
    os.mkfifo(tmp_path / '.lock')
    with pytest.raises(OSError, match='.lock'), locked(str(tmp_path / '.lock')):
        pass


def test_lock_is_released_when_its_process_ends(tmp_path):
    path = tmp_path / '.lock'
    result = run_python('-c', 'import os, sys\nfrom openatac.files.locks import locked\n'
                              'with locked(sys.argv[1]): os._exit(7)', path)
    assert result.returncode == 7 and path.exists()
    with locked(str(path)):
        pass


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux lists the open files of a process')
def test_locks_are_closed(tmp_path):
    before = os.listdir('/proc/self/fd')
    for _ in range(3):
        with locked(str(tmp_path / '.lock'), remove=True):
            pass
    assert len(os.listdir('/proc/self/fd')) == len(before)
