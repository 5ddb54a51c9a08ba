"""Downloads from a local server that can break off, ignore ranges, refuse requests and send wrong data."""
import functools
import hashlib
import logging
import multiprocessing
import os
import socket

import numpy as np
import pytest

from openatac.data.small import download
from openatac.data.small.download import fetch
from openatac.errors import DataError
from openatac.files.checksums import file_md5
from tests.helpers.pages.web import QuietHandler, serving

CONTENT = np.random.RandomState(0).bytes(300000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(QuietHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers['Range']
        server.ranges.append(wanted)
        if server.errors:
            return self.send_error(server.errors.pop(0))
        start = int(wanted[len('bytes='):-1]) if wanted and server.ranges_work else 0
        if start >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range',
                             f'bytes {start + server.shift}-{len(CONTENT) - 1}/{len(CONTENT)}')
        self.send_header('Content-Length', str(len(CONTENT) - start))
        self.end_headers()
        stop = server.cuts.pop(0) if server.cuts else len(CONTENT)
        self.wfile.write(CONTENT[start:stop])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv('no_proxy', '*')


@pytest.fixture
def server(monkeypatch):
    """A server of CONTENT; `cuts` are the positions where its first answers end, `errors` error codes."""
    monkeypatch.setattr(download, 'PAUSE', 0)
    with serving(Handler) as server:
        server.ranges, server.ranges_work, server.cuts, server.errors, server.shift = [], True, [], [], 0
        server.url += 'file'
        yield server


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'new' / 'file')


def write_part(path, content):
    os.makedirs(os.path.dirname(path))
    with open(path + '.part', 'wb') as file:
        file.write(content)


def check_whole(path):
    assert file_md5(path) == MD5
    assert not os.path.exists(path + '.part')


@pytest.mark.parametrize('progress', [False, True])
def test_file_is_fetched_in_one_request_with_an_optional_progress_bar(server, path, progress, capfd):
    assert fetch(server.url, path, MD5, progress) == path
    check_whole(path)
    assert server.ranges == [None]
    assert ('300k' in capfd.readouterr().err) == progress


def test_existing_file_is_not_requested_again(server, path):
    fetch(server.url, path, MD5)
    fetch(server.url, path, MD5)
    assert len(server.ranges) == 1


def test_interrupted_download_continues(server, path):
    server.cuts = [100000, 200000]
    fetch(server.url, path, MD5)
    check_whole(path)
    assert server.ranges == [None, 'bytes=100000-', 'bytes=200000-']


def test_partial_download_continues_in_a_later_call(server, path, monkeypatch):
    monkeypatch.setattr(download, 'RETRIES', 0)
    server.cuts = [100000]
    with pytest.raises(DataError, match='100000 .*300000'):
        fetch(server.url, path, MD5)
    assert not os.path.exists(path)
    fetch(server.url, path, MD5)
    check_whole(path)
    assert server.ranges == [None, 'bytes=100000-']


def test_download_restarts_if_the_server_ignores_ranges(server, path):
    server.ranges_work = False
    server.cuts = [100000]
    fetch(server.url, path, MD5)
    check_whole(path)


def test_complete_partial_file_is_used(server, path):
    write_part(path, CONTENT)
    fetch(server.url, path, MD5)
    check_whole(path)
    assert server.ranges == []


def test_oversized_partial_file_is_downloaded_again(server, path):
    write_part(path, bytes(len(CONTENT) + 1))
    fetch(server.url, path, MD5)
    check_whole(path)
    assert server.ranges == [f'bytes={len(CONTENT) + 1}-', None]


def test_unrequested_range_is_refused(server, path, monkeypatch):
    monkeypatch.setattr(download, 'RETRIES', 0)
    write_part(path, CONTENT[:100000])
    server.shift = 1
    with pytest.raises(DataError, match=server.url):
        fetch(server.url, path, MD5)
    assert file_md5(path + '.part') == hashlib.md5(CONTENT[:100000]).hexdigest()


def test_wrong_checksum_deletes_the_partial_file(server, path):
    wrong = '0' * 32
    with pytest.raises(DataError) as failure:
        fetch(server.url, path, wrong)
    assert MD5 in str(failure.value) and wrong in str(failure.value)
    assert not os.path.exists(path) and not os.path.exists(path + '.part')


def test_wrong_file_in_place_is_replaced(server, path):
    os.makedirs(os.path.dirname(path))
    with open(path, 'wb') as file:
        file.write(b'old')
    fetch(server.url, path, MD5)
    check_whole(path)


def test_only_a_successful_download_leaves_a_file(server, path):
    server.errors = [404]
    folder = os.path.dirname(path)
    with pytest.raises(DataError):
        fetch(server.url, path, MD5)
    assert not os.path.exists(folder)
    fetch(server.url, path, MD5)
    assert os.listdir(folder) == [os.path.basename(path)]


def test_http_refusal_is_not_retried_and_names_the_remedy(server, path):
    server.errors = [404] * 5
    with pytest.raises(DataError) as failure:
        fetch(server.url, path, MD5)
    message = str(failure.value)
    assert server.url in message and '404' in message and path in message
    assert len(server.ranges) == 1


def test_temporary_server_errors_are_retried(server, path):
    server.errors = [503, 500]
    fetch(server.url, path, MD5)
    check_whole(path)


def test_unreachable_server_is_an_error(path, monkeypatch):
    monkeypatch.setattr(download, 'PAUSE', 0)
    monkeypatch.setattr(download, 'RETRIES', 1)
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{unused.getsockname()[1]}/file'
        with pytest.raises(DataError, match=path) as failure:
            fetch(url, path, MD5)
    assert url in str(failure.value)


def test_silent_server_times_out(path, monkeypatch):
    monkeypatch.setattr(download, 'TIMEOUT', 0.1)
    monkeypatch.setattr(download, 'RETRIES', 0)
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        url = f'http://127.0.0.1:{silent.getsockname()[1]}/file'
        with pytest.raises(DataError, match=url):
            fetch(url, path, MD5)


def test_path_instead_of_a_url_is_refused(path):
    with pytest.raises(DataError, match='/mirror/file'):
        fetch('/mirror/file', path, MD5)


def test_uncreatable_folder_is_an_error(server, tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(DataError, match=str(tmp_path / 'file')):
        fetch(server.url, str(tmp_path / 'file' / 'below'), MD5)


def test_file_url_is_fetched(tmp_path):
    (tmp_path / 'mirror').write_bytes(CONTENT)
    check_whole(fetch((tmp_path / 'mirror').as_uri(), str(tmp_path / 'file'), MD5))


def test_download_is_logged(server, path, caplog):
    with caplog.at_level(logging.INFO, 'openatac'):
        fetch(server.url, path, MD5)
    message, = caplog.messages
    assert server.url in message


def test_only_one_of_several_processes_downloads(server, path):
    processes = [multiprocessing.get_context('spawn').Process(
        target=functools.partial(fetch, server.url, path, MD5)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert server.ranges == [None]
    check_whole(path)
