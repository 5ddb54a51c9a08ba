"""The log of a run, on standard error and in a file."""
import logging

from openatac.console.log import log, log_to


def test_message_logged_while_the_log_file_opens_is_kept(tmp_path):
    """Another thread, such as the data reader, may be sending it to the previous handlers."""
    log_to()
    before = list(log.handlers)
    log_to(str(tmp_path / 'log'))
    for handler in before:
        handler.handle(logging.makeLogRecord({'msg': 'read late', 'levelno': logging.INFO}))
    log.info('read after')
    assert [line.split()[-1] for line in (tmp_path / 'log').read_text().splitlines()] == ['late', 'after']
