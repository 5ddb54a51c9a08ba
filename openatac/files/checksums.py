"""Checksums of files: SHA-256, and MD5 for downloads."""
import hashlib
from typing import Any

from openatac.files.reading import PathLike, open_input

BLOCK = 2 ** 20  # bytes


def file_sha256(path: PathLike) -> str:
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
