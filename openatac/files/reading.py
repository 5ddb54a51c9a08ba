"""Files that a user names, opened to be read: regular files only, and no more of them than a reader can take.

A FIFO or a device can keep a reader waiting, or reading, for ever. So what is opened is looked at before it
is read: on the open file, so that nothing can take its place in between, and without waiting for a writer.
"""
import errno
import os
import stat

MEGABYTE = 2 ** 20
TEXT_LIMIT = 64 * MEGABYTE    # of settings, metrics, class lists and the like, which are read whole
IMAGE_LIMIT = 512 * MEGABYTE  # of one image file, on standard input too

_KINDS = {stat.S_IFDIR: 'a folder', stat.S_IFIFO: 'a FIFO', stat.S_IFCHR: 'a device',
          stat.S_IFBLK: 'a device', stat.S_IFSOCK: 'a socket'}


def open_descriptor(path, limit=None):
    """A file descriptor of the regular file ``path``, to be read.

    Raises OSError if there is no such file, if it is of another kind or larger than ``limit`` bytes.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check(os.fstat(handle), path, limit)
    except OSError:
        os.close(handle)
        raise
    return handle


def open_input(path, limit=None):
    """The regular file ``path`` as a binary file; raises as `open_descriptor`."""
    return open(open_descriptor(path, limit), 'rb')


def check_input(path, limit=None):
    """Raise as `open_descriptor`: for files that a library is about to open by their path."""
    os.close(open_descriptor(path, limit))


def read_input(path, limit):
    """The bytes of the regular file ``path``; raises as `open_descriptor`."""
    with open_input(path, limit) as handle:
        return read_limited(handle, limit, path)


def read_text(path, errors='strict'):
    """The text of a UTF-8 file of at most `TEXT_LIMIT` bytes; raises as `open_descriptor`, and ValueError."""
    return read_input(path, TEXT_LIMIT).decode('utf-8', errors)


def read_limited(stream, limit, name):
    """All that a binary stream holds; OSError if that is more than ``limit`` bytes."""
    data = stream.read(limit + 1)  # a file may grow, and those of /proc have no size
    if len(data) > limit:
        raise _too_large(name, limit)
    return data


def _check(state, path, limit):
    if not stat.S_ISREG(state.st_mode):
        kind = _KINDS.get(stat.S_IFMT(state.st_mode), 'of another kind')
        number = errno.EISDIR if stat.S_ISDIR(state.st_mode) else errno.EINVAL
        raise OSError(number, 'it is %s, not a regular file' % kind, os.fspath(path))
    if limit is not None and state.st_size > limit:
        raise _too_large(path, limit)


def _too_large(path, limit):
    return OSError(errno.EFBIG, f'it is larger than the limit of {limit / MEGABYTE:.0f} MB', os.fspath(path))
