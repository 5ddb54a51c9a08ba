"""The frame around every command of every program: failures become sentences and exit codes."""
from typing import Callable, Optional

from openatac.console import streams
from openatac.errors import OpenatacError
from openatac.files.writing import reason
from openatac.runtime import environment

INTERRUPTED = 130


def run(main: Callable[[], Optional[int]], fail: Callable[[str, int], None]) -> int:
    """The exit code of the process whose work is ``main()``, which returns it or None.

    Whatever a user can cause is told to ``fail``, in a sentence and with the exit code; everything else is a
    fault of ours and gets its traceback. When whoever reads the output has seen enough, the end is quiet.
    """
    streams.prepare()
    environment.prepare_command()
    try:
        code = _finished(main)
        sentence = None
    except KeyboardInterrupt:
        code, sentence = INTERRUPTED, 'interrupted'
    except (OpenatacError, ImportError, MemoryError, OSError) as error:
        sentence = _sentence(error)
        code = streams.CLOSED if streams.is_closed_pipe(error) else getattr(error, 'exit_code', 1)
    streams.abandon_broken()
    if sentence is not None:
        fail(sentence, code)
    return code


def _finished(main: Callable[[], Optional[int]]) -> int:
    """What ``main()`` returns, or SystemExit, once all output is written."""
    try:
        code = main() or 0
    except SystemExit:
        streams.finish()
        raise
    streams.finish()
    return code


def _sentence(error: BaseException) -> Optional[str]:
    """What to say of an error; None if nothing. Raises it if it is no user's doing."""
    if streams.is_closed_pipe(error):
        return None
    if environment.is_lack_of_memory(error):
        shortage = environment.lacking_memory()
        if shortage:
            return shortage
    if isinstance(error, MemoryError):
        return 'there is not enough memory: choose smaller batches or images, or a larger machine'
    if isinstance(error, OSError):
        if error.filename is None:
            raise error
        how = 'written' if streams.is_of(error) else 'used'
        return f'{error.filename} cannot be {how} ({reason(error)})'
    if isinstance(error, ImportError) and str(error).startswith('No module named'):
        if (error.name or '').startswith('openatac'):
            raise error
        return f'{error}: run pip install {(error.name or "").split(".")[0]}'
    return str(error)
