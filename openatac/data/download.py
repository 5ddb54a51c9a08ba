"""Fetch a file from the web: resumed where it broke off, checked, and put in place whole."""
import hashlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.request

from openatac.errors import DataError
from openatac.files.locks import locked
from openatac.files.reading import open_input

CHUNK = 1 << 16         # bytes
TIMEOUT = 30            # seconds without a byte
PAUSE = 1.0             # seconds before the second try; doubled before each further one

_logger = logging.getLogger('openatac')


def fetch(url, path, md5, progress=False, retries=4):
    """Download `url` to `path` and return `path`.

    What has arrived is kept beside it as ``path + '.part'``, also after a failure, and the next
    try or call goes on from there. Of several processes that want the same file one downloads
    it and the others wait (for the lock on ``path + '.lock'``).

    Parameters
    ----------
    url : str
        http, https, ftp or file.
    path : str
        The file to make; its folder is made too. Nothing is done if it is there and right.
    md5 : str
        The checksum that it must have, 32 hexadecimal digits.
    progress : bool
        Show a bar.
    retries : int
        How many more tries follow a first one that the network ended.

    Raises
    ------
    DataError
        If the server cannot be reached or refuses, or the file does not have that checksum;
        what was downloaded of a wrong file is deleted.
    """
    real = os.path.realpath(path)  # a link stays one
    try:
        os.makedirs(os.path.dirname(real), exist_ok=True)
        with locked(real + '.lock', wait=True):
            if not _is_right(real, md5):
                _fetch_part(url, real + '.part', md5, progress, retries)
                os.replace(real + '.part', real)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DataError(f'cannot download {url} ({str(error) or type(error).__name__}); '
                        f'get it in another way and save it as {path}') from error
    return path


def file_md5(path):
    """The MD5 checksum of the file at `path`, 32 hexadecimal digits."""
    checksum = hashlib.md5(usedforsecurity=False)
    with open_input(path) as file:
        for chunk in iter(lambda: file.read(CHUNK), b''):
            checksum.update(chunk)
    return checksum.hexdigest()


def _is_right(path, md5):
    return os.path.exists(path) and file_md5(path) == md5


def _fetch_part(url, part, md5, progress, retries):
    """Make the part whole and right; what cannot become right is deleted."""
    if _is_right(part, md5):        # a run was killed just before it gave the file its name
        return
    _logger.info('downloading %s', url)
    _download(url, part, progress, retries)
    found = file_md5(part)
    if found != md5:
        os.remove(part)
        raise DataError(f'{url} has MD5 {found} where {md5} is right, so what arrived was deleted; '
                        'try again, or from another mirror')


def _download(url, part, progress, retries):
    """Continue until all has arrived, and try again after a failure that may pass."""
    for tries_left in range(retries, -1, -1):
        try:
            return _continue(url, part, progress)
        except (OSError, http.client.HTTPException) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if refused or not tries_left:
                raise
        time.sleep(PAUSE * 2 ** (retries - tries_left))


def _continue(url, part, progress):
    """Append to the part what it lacks, or write it anew where the server sends the whole file."""
    from tqdm import tqdm
    with _open(url, part) as response:
        start = _start(response, part)
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


def _open(url, part):
    """Ask for what the part lacks."""
    size = os.path.getsize(part) if os.path.exists(part) else 0
    request = urllib.request.Request(url, headers={'Range': f'bytes={size}-'} if size else {})
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not size:
            raise
    os.remove(part)     # as long as the file or longer, and not right: it belongs to another file
    return _open(url, part)


def _start(response, part):
    """At which byte of the file the response begins; a server may ignore the range asked for."""
    if response.status != http.client.PARTIAL_CONTENT:
        return 0
    size = os.path.getsize(part)
    if not response.headers.get('Content-Range', '').startswith(f'bytes {size}-'):
        raise http.client.HTTPException('the server sent another range than the one asked for')
    return size
