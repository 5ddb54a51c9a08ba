"""Read the files of a folder and of a .tar.gz archive in the same way, safely even if it is malicious."""
from __future__ import annotations

import contextlib
import functools
import gzip
import logging
import os
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from openatac.errors import DataError
from openatac.files.checksums import file_md5
from openatac.files.reading import MEGABYTE, open_input

LARGEST = 1024 * MEGABYTE  # of a file, and of an unpacked archive; CIFAR's have 186

log = logging.getLogger('openatac')


class File(NamedTuple):
    """A file in a folder or an archive: what messages call it, its size in bytes, and how to open it."""

    label: str
    size: int
    open: Callable[[], Any]


@contextlib.contextmanager
def open_files(path: str, published: Collection[str]) -> Iterator[dict[str, File]]:
    """Open the files of a folder or an archive, by their names.

    Those of an archive are in its order, since reading in any other is slow.

    Parameters
    ----------
    path : str
        The folder or .tar.gz archive.
    published : collection of str
        MD5 checksums of the published archives; a warning is logged for any other archive.

    Raises
    ------
    DataError
        If it cannot be read, here or in the body, or the archive is damaged, holds links or devices, or
        unpacks to more than `LARGEST` bytes.
    """
    try:
        if os.path.isdir(path):
            yield _folder_files(path)
        else:
            if file_md5(path) not in published:
                log.warning('%s is not the published archive (its MD5 differs)', path)
            with _open_archive(path) as archive:
                yield _archive_files(archive, path)
    except OSError as error:
        raise DataError(f'cannot use {error.filename or path}: {error.strerror or error}') from error


def _folder_files(folder: str) -> dict[str, File]:
    paths = {name: os.path.join(folder, name) for name in os.listdir(folder)}
    return {name: File(path, os.path.getsize(path), functools.partial(open_input, path, LARGEST))
            for name, path in paths.items() if os.path.isfile(path)}


@contextlib.contextmanager
def _open_archive(path: str) -> Iterator[tarfile.TarFile]:
    try:
        with open_input(path) as file, _LimitedGzip(fileobj=file) as unpacked, \
                tarfile.open(fileobj=unpacked, mode='r:') as archive:
            yield archive
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, OverflowError) as error:
        raise DataError(f'{path} is not a complete tar.gz archive ({error}); get it again') from error


class _LimitedGzip(gzip.GzipFile):
    """A .gz file for tarfile to read, never unpacked beyond `LARGEST` bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            data = super().read(LARGEST + 1 - self.tell())
            self._check(self.tell())
            return data
        self._check(self.tell() + size)
        return super().read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check(offset)
        return super().seek(offset, whence)

    def _check(self, end: int) -> None:
        if end > LARGEST:
            raise ValueError(f'it unpacks to more than the limit of {LARGEST // MEGABYTE} MB')


def _archive_files(archive: tarfile.TarFile, path: str) -> dict[str, File]:
    files = {}
    for member in archive:
        label = f'{member.name} in {path}'
        if os.path.isabs(member.name) or '..' in member.name.split('/'):
            raise DataError(f'{label} points out of its archive, which no published archive does')
        if member.issparse() or not (member.isreg() or member.isdir()):
            raise DataError(f'{label} is a link or a device, which no published archive holds')
        if member.isreg():
            files[os.path.basename(member.name)] = File(
                label, member.size, functools.partial(archive.extractfile, member))
    content: Any = archive.fileobj
    while content.read(tarfile.RECORDSIZE):  # to the end, where gzip has its checksum
        pass
    return files
