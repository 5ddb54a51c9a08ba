"""Reserve a folder for one process at a time."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from openatac.errors import OpenatacError, reason
from openatac.files.locks import locked
from openatac.files.run_file_names import LOCK
from openatac.files.writing import remove_leftovers


@contextlib.contextmanager
def reserved_folder(folder: str, user: str) -> Iterator[None]:
    """Reserve ``folder`` for this process, and remove what a killed process left there.

    Parameters
    ----------
    folder : str
        Created if it is missing.
    user : str
        What the folder is for, such as 'run'.

    Raises
    ------
    OpenatacError
        If another process has reserved the folder, or it can't be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            os.makedirs(folder, exist_ok=True)
            stack.enter_context(locked(os.path.join(folder, LOCK), remove=True))
            remove_leftovers(folder)
        except BlockingIOError:
            raise OpenatacError(f'another {user} is using {folder}: choose another folder or wait until it '
                                'ends') from None
        except OSError as error:
            raise OpenatacError(f'{folder} cannot be written ({reason(error)}): choose another folder'
                                ) from None
        yield
