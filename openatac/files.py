"""Files that are either the old one or the whole new one, whatever happens in between."""
import contextlib
import csv
import io
import os
import tempfile

from openatac.errors import OpenatacError

_SUFFIX = '.part'


@contextlib.contextmanager
def replace_file(path):
    """Yield the name of a temporary file beside ``path``; it takes ``path``'s place at the end.

    The caller writes the temporary file; it is then flushed to the disk and renamed. If the body
    fails, ``path`` is left as it was and nothing else stays behind.
    """
    folder, name = os.path.split(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix='.' + name + '.', suffix=_SUFFIX, dir=folder)
    os.close(handle)
    try:
        yield temporary
        flush(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        flush(folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def writing(what, advice=''):
    """Turn a failure of the system to write into an OpenatacError: "WHAT cannot be written (...)ADVICE"."""
    try:
        yield
    except OSError as error:
        raise OpenatacError('%s cannot be written (%s)%s' % (what, error.strerror, advice)) from None


def remove_leftovers(folder):
    """Remove what `replace_file` left in ``folder`` when its process was killed, and no one writes there."""
    for name in os.listdir(folder):
        if name.startswith('.') and name.endswith(_SUFFIX):
            os.unlink(os.path.join(folder, name))


def flush(path):
    """Have the operating system put the file or folder on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path, text):
    """Put ``text`` in the file ``path``, whole or not at all."""
    with replace_file(path) as temporary:
        with open(temporary, 'w', encoding='utf-8') as handle:
            handle.write(text)


def write_csv(path, columns, rows):
    """Write rows, as dicts, under ``columns``, whole or not at all; what is in no column is left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator='\n', extrasaction='ignore')
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
