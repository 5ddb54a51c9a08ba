"""Checksums of files: SHA-256 for those of an export, in its manifest PREFIX.json, and MD5 for downloads."""
import functools
import hashlib
import os
from collections.abc import Iterable
from typing import Any

from openatac.errors import OpenatacError
from openatac.files.reading import PathLike, open_input
from openatac.files.schema import read_json

BLOCK = 2 ** 20  # bytes


def sha256(path: PathLike) -> str:
    """Return the SHA-256 of the regular file ``path``, 64 hexadecimal digits; raise OSError if unreadable."""
    return _digest(path, hashlib.sha256())


def file_md5(path: PathLike) -> str:
    """Return the MD5 of the regular file ``path``, 32 hexadecimal digits; raise OSError if unreadable."""
    return _digest(path, hashlib.md5(usedforsecurity=False))


def _digest(path: PathLike, digest: Any) -> str:
    with open_input(path) as file:
        for block in iter(lambda: file.read(BLOCK), b''):
            digest.update(block)
    return digest.hexdigest()


def check_files(prefix: str, paths: Iterable[str]) -> None:
    """Check files of an export against its manifest.

    Nothing is checked if there is no manifest, or if it has no checksums, as in older exports.

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
        expected = read_json(prefix + '.json', dict).get('sha256')
    except (OSError, ValueError):  # reported by whatever needs the manifest
        return
    for path in paths:
        wanted = expected.get(path[len(prefix):]) if isinstance(expected, dict) else None
        if wanted and os.path.isfile(path) and not _matches(os.path.abspath(path), wanted, _identity(path)):
            raise OpenatacError(f'{path} does not match its checksum in {prefix}.json: it is damaged or was '
                                'changed; copy it again, or export again')


def _identity(path: str) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _matches(path: str, wanted: str, identity: tuple[int, ...]) -> bool:
    """Return whether the file has that checksum, reading a file that several readers open only once."""
    return sha256(path) == wanted
