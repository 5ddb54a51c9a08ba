"""Check an export's files against the SHA-256 checksums in its manifest PREFIX.json."""
import functools
import os
from collections.abc import Iterable

from openatac.errors import OpenatacError
from openatac.files.checksums import file_sha256
from openatac.files.export_file_names import MANIFEST_SUFFIX
from openatac.files.schema import read_json


def check_files(prefix: str, paths: Iterable[str]) -> None:
    """Check files of an export against its manifest.

    Nothing is checked if the manifest is missing or has no checksums, as in older exports.

    Parameters
    ----------
    prefix : str
        The common prefix of the files and the manifest.
    paths : iterable of str

    Raises
    ------
    OpenatacError
        For the first file whose checksum differs.
    """
    try:
        expected = read_json(prefix + MANIFEST_SUFFIX, dict).get('sha256')
    except (OSError, ValueError):  # reported by whatever needs the manifest
        return
    for path in paths:
        wanted = expected.get(path[len(prefix):]) if isinstance(expected, dict) else None
        if wanted and os.path.isfile(path) and not _matches(os.path.abspath(path), wanted, _identity(path)):
            raise OpenatacError(f'{path} does not match its checksum in {prefix}{MANIFEST_SUFFIX}: it is '
                                'damaged or was changed; copy it again, or export again')


def _identity(path: str) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _matches(path: str, wanted: str, identity: tuple[int, ...]) -> bool:
    """Return whether the file has that checksum; cached, so a file with several readers is read only once."""
    return file_sha256(path) == wanted
