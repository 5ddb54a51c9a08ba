"""SHA-256 checksums of files: those of an export's stand in its description PREFIX.json."""
import functools
import hashlib
import os

from openatac.errors import OpenatacError
from openatac.files.reading import open_input
from openatac.files.schema import read_json

BLOCK = 2 ** 20  # bytes


def sha256(path):
    """The SHA-256 of the regular file ``path``, as 64 hexadecimal digits; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with open_input(path) as handle:
        for block in iter(lambda: handle.read(BLOCK), b''):
            digest.update(block)
    return digest.hexdigest()


def check_files(prefix, paths):
    """Raise OpenatacError for the first of ``paths`` that is not as the description of its export says.

    prefix : what the paths, and the description's, begin with. Nothing is checked where there is no
    description, or one without checksums, as older exports have.
    """
    try:
        expected = read_json(prefix + '.json', dict).get('sha256')
    except (OSError, ValueError):  # which is for those to say who need it
        return
    for path in paths:
        wanted = expected.get(path[len(prefix):]) if isinstance(expected, dict) else None
        if wanted and os.path.isfile(path) and not _is_right(os.path.abspath(path), wanted, _state(path)):
            raise OpenatacError(f'{path} has another checksum than {prefix}.json says: it is damaged or was '
                                'changed; copy it again, or export again')


def _state(path):
    state = os.stat(path)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _is_right(path, wanted, state):
    """Whether the file has that checksum; one that several readers open is read for it once."""
    return sha256(path) == wanted
