"""Download a file: resume after an interruption, check it, and rename it when it is complete."""
import contextlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from typing import Any

from openatac.errors import DataError
from openatac.files.checksums import file_md5
from openatac.files.locks import locked

CHUNK = 1 << 16  # bytes
TIMEOUT = 30     # seconds without a byte
RETRIES = 4      # after a network failure
PAUSE = 1.0      # seconds before the second try; doubled before each further one

log = logging.getLogger('openatac')


def fetch(url: str, path: str, md5: str, progress: bool = False) -> str:
    """Download ``url`` to ``path`` and return ``path``.

    Partial data is kept as ``path + '.part'``, even after a failure, and the next try or call resumes from
    there. If several processes want the same file, one downloads it and the others wait (for the lock on
    ``path + '.lock'``).

    Parameters
    ----------
    url : str
        http, https, ftp or file.
    path : str
        Where to write the file; its folder is created too. Does nothing if the file already exists with that
        checksum.
    md5 : str
        The checksum that the file must have, 32 hexadecimal digits.
    progress : bool
        Whether to show a bar.

    Raises
    ------
    DataError
        If the server cannot be reached or refuses, or the checksum is wrong; the wrong download is then
        deleted.
    """
    real = os.path.realpath(path)  # to preserve a symbolic link
    folder = os.path.dirname(real)
    is_new = not os.path.isdir(folder)
    try:
        os.makedirs(folder, exist_ok=True)
        with locked(real + '.lock', wait=True, remove=True):
            if not _is_right(real, md5):
                _fetch_part(url, real + '.part', md5, progress)
                os.replace(real + '.part', real)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DataError(f'cannot download {url} ({str(error) or type(error).__name__}); '
                        f'get it in another way and save it as {path}') from error
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # the folder is missing or not empty
                os.rmdir(folder)
    return path


def _is_right(path: str, md5: str) -> bool:
    return os.path.exists(path) and file_md5(path) == md5


def _fetch_part(url: str, part: str, md5: str, progress: bool) -> None:
    """Complete the partial file and check it; delete a wrong one."""
    if _is_right(part, md5):  # a process was killed just before it renamed the file
        return
    log.info('downloading %s', url)
    _download(url, part, progress)
    actual = file_md5(part)
    if actual != md5:
        os.remove(part)
        raise DataError(f'{url} has MD5 {actual} instead of {md5}, so the download was deleted; try again, '
                        'or use another mirror')


def _download(url: str, part: str, progress: bool) -> None:
    """Download the rest of the partial file, and retry after a failure that may be temporary."""
    for tries_left in range(RETRIES, -1, -1):
        try:
            _resume(url, part, progress)
            return
        except (OSError, http.client.HTTPException) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if refused or not tries_left:
                raise
        time.sleep(PAUSE * 2 ** (RETRIES - tries_left))


def _resume(url: str, part: str, progress: bool) -> None:
    """Append the rest to the partial file, or rewrite it if the server sends the whole file."""
    from tqdm import tqdm
    with _open(url, part) as response:
        start = 0
        if response.status == http.client.PARTIAL_CONTENT:  # a server may ignore the requested range
            start = os.path.getsize(part)
            if not response.headers.get('Content-Range', '').startswith(f'bytes {start}-'):
                raise http.client.HTTPException('the server did not send the requested range')
        length = response.headers['Content-Length']
        whole = start + int(length) if length else None
        with open(part, 'ab' if start else 'wb') as file, \
                tqdm(total=whole, initial=start, unit='B', unit_scale=True, disable=not progress) as bar:
            for chunk in iter(lambda: response.read(CHUNK), b''):
                file.write(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
            if whole is not None and file.tell() != whole:
                raise ConnectionError(f'the connection ended after {file.tell()} of {whole} bytes')


def _open(url: str, part: str) -> Any:
    """Request the rest of the partial file."""
    size = os.path.getsize(part) if os.path.exists(part) else 0
    request = urllib.request.Request(url, headers={'Range': f'bytes={size}-'} if size else {})
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not size:
            raise
    os.remove(part)  # at least as long as the file, but not complete: it is part of another file
    return _open(url, part)
