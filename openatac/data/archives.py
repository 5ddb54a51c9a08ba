"""Read the files of a folder and of an archive in the same way, safely even if it is malicious.

An archive is a tar, tar.gz or zip file, recognised by its content because names are often wrong. Members are
read in place: nothing is extracted to the paths they name.
"""
from __future__ import annotations

import contextlib
import functools
import gzip
import logging
import ntpath
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from openatac.errors import DataError, reason
from openatac.files.checksums import file_md5
from openatac.files.reading import MEGABYTE, open_input
from openatac.text import first_few

MAX_ARCHIVE_BYTES = 1024 * MEGABYTE  # limit for a file and for an unpacked archive (CIFAR's: 186)
MAX_NAMED_FILES = 8  # how many files a message lists
ENDINGS = '.tar.gz', '.tgz', '.tar', '.zip'
UTF8_FLAG = 0x800  # marks a UTF-8 name in a zip file; without it, zipfile decodes the name as CP437
ZIP, GZIP = b'PK\x03\x04', b'\x1f\x8b'  # the first bytes of a file
_DAMAGES = tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError

log = logging.getLogger('openatac')


class File(NamedTuple):
    """A file in a folder or an archive: its name in messages, its size in bytes, a function that opens it."""

    name: str
    size: int
    open: Callable[[], Any]


@contextlib.contextmanager
def open_files(path: str, published: Collection[str]) -> Iterator[dict[str, File]]:
    """Open the files directly in a folder, or all files in an archive, as {path inside it: File}.

    An archive's files come in archive order, since any other reading order is slow. Its hidden files are left
    out.

    Parameters
    ----------
    path : str
        The folder or archive.
    published : collection of str
        MD5 checksums of the published archives; a warning is logged for any other archive. Empty if none are
        published.

    Raises
    ------
    DataError
        If the path cannot be read, here or in the ``with`` body, or the archive is damaged, contains links or
        devices, or unpacks to more than `MAX_ARCHIVE_BYTES` bytes. Other errors in the body pass through.
    """
    try:
        if os.path.isdir(path):
            yield _folder_files(path)
        else:
            if published and file_md5(path) not in published:
                log.warning('%s is not the published archive (its MD5 differs)', path)
            with open_input(path) as file, _open_archive(file, path) as files:
                yield files
    except OSError as error:
        raise DataError(f'cannot use {error.filename or path} ({reason(error)}): choose a folder or an '
                        'archive that can be read') from error


def is_archive_name(name: str) -> bool:
    """Return whether a file name ends like an archive that `open_files` can open."""
    return name.lower().endswith(ENDINGS)


def list_briefly(names: Iterable[str]) -> str:
    """Return the first few names, without hidden ones, as text for a message."""
    names = sorted(name for name in names if not name.startswith('.'))
    return first_few([*map(repr, names)], MAX_NAMED_FILES) or 'nothing'


def _folder_files(folder: str) -> dict[str, File]:
    paths = {name: os.path.join(folder, name) for name in os.listdir(folder)}
    return {name: File(path, os.path.getsize(path), functools.partial(open_input, path, MAX_ARCHIVE_BYTES))
            for name, path in paths.items() if os.path.isfile(path)}


@contextlib.contextmanager
def _open_archive(file: BinaryIO, path: str) -> Iterator[dict[str, File]]:
    start = file.read(4)
    file.seek(0)
    with contextlib.ExitStack() as stack:
        with _reporting_damage(path, *_DAMAGES, ValueError, OverflowError):
            if start == ZIP:
                files = _zip_files(stack.enter_context(zipfile.ZipFile(file)), path)
            else:
                if start.startswith(GZIP):
                    file = stack.enter_context(_LimitedGzip(fileobj=file))  # type: ignore[assignment]
                files = _tar_files(stack.enter_context(tarfile.open(fileobj=file, mode='r:')), path)
            files = _checked(files)
        with _reporting_damage(path, *_DAMAGES):  # while members are read
            yield files


@contextlib.contextmanager
def _reporting_damage(path: str, *damages: type[Exception]) -> Iterator[None]:
    """Convert the errors that a damaged archive causes to DataError."""
    try:
        yield
    except damages as error:
        raise DataError(f'{path} is not a complete tar, tar.gz or zip archive ({error}); download it again, '
                        'or unpack it yourself and give the folder') from error


def _checked(files: dict[str, File]) -> dict[str, File]:
    """Return the files without hidden ones; raise if they unpack to more than `MAX_ARCHIVE_BYTES` bytes."""
    if sum(file.size for file in files.values()) > MAX_ARCHIVE_BYTES:
        raise _too_large()
    return {name: file for name, file in files.items()
            if not any(part.startswith(('.', '__MACOSX')) for part in name.split('/'))}


class _LimitedGzip(gzip.GzipFile):
    """A gzip stream for tarfile that never unpacks more than `MAX_ARCHIVE_BYTES` bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            data = super().read(MAX_ARCHIVE_BYTES + 1 - self.tell())
            self._check(self.tell())
            return data
        self._check(self.tell() + size)
        return super().read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check(offset)
        return super().seek(offset, whence)

    def _check(self, end: int) -> None:
        if end > MAX_ARCHIVE_BYTES:
            raise _too_large()


def _tar_files(archive: tarfile.TarFile, path: str) -> dict[str, File]:
    files = {}
    for member in archive:
        shown = f'{member.name} in {path}'
        if member.issparse() or not (member.isreg() or member.isdir()):
            raise _not_regular_error(shown)
        if member.isreg():
            files[_safe_name(member.name, shown)] = File(
                shown, member.size, functools.partial(archive.extractfile, member))
    content: Any = archive.fileobj
    while content.read(tarfile.RECORDSIZE):  # read to the end, where gzip checks its checksum
        pass
    return files


def _zip_files(archive: zipfile.ZipFile, path: str) -> dict[str, File]:
    files = {}
    for member in archive.infolist():
        name = _zip_name(member).replace('\\', '/')  # some Windows programs write backslashes
        shown = f'{name} in {path}'
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _not_regular_error(shown)
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError('it is encrypted, or compressed in an unusual way')
        if not name.endswith('/'):
            files[_safe_name(name, shown)] = File(
                shown, member.file_size, functools.partial(archive.open, member))
    return files


def _zip_name(member: zipfile.ZipInfo) -> str:
    """Return a member's name; many programs write UTF-8 names without setting the flag."""
    if not member.flag_bits & UTF8_FLAG:
        with contextlib.suppress(ValueError):
            return member.filename.encode('cp437').decode('utf-8')
    return member.filename


def _too_large() -> ValueError:
    return ValueError(f'it unpacks to more than the limit of {MAX_ARCHIVE_BYTES // MEGABYTE} MB')


def _safe_name(name: str, shown: str) -> str:
    if ntpath.splitdrive(name)[0] or posixpath.isabs(name) or '..' in name.split('/'):
        raise DataError(f'{shown} points outside its archive: download the archive from another source')
    return posixpath.normpath(name)


def _not_regular_error(shown: str) -> DataError:
    return DataError(f'{shown} is a link or a device: download the archive from another source')
