"""Errors that a user can cause and fix.

Each message is one sentence: the wrong value, what would be right, what to do. The commands print it
without a traceback, and exit with the ``exit_code`` of an `OpenatacError`, or with 2 for a `UsageError`; see
`openatac.console.program`.
"""
from __future__ import annotations


class OpenatacError(RuntimeError):
    """A run cannot continue, for the reason in the message; ``exit_code`` is that of a command."""

    exit_code = 1


class DataError(OpenatacError):
    """A data set is missing, is damaged or does not match its name."""


class ParameterFileError(OpenatacError):
    """A parameter file is unreadable or belongs to another network."""

    @classmethod
    def unreadable(cls, path: str, error: OSError) -> ParameterFileError:
        """Return the error for a parameter file that cannot be read."""
        return cls(f'the parameter file {path} cannot be read: {reason(error)}')

    @classmethod
    def damaged(cls, path: str, kind: str, problem: str) -> ParameterFileError:
        """Return the error for a file that should be of a ``kind``, such as 'a safetensors file'."""
        return cls(f'{path} is not {kind}, or is damaged ({problem}): copy or save it again')

    @classmethod
    def missing(cls, name: str) -> ParameterFileError:
        """Return the error for parameters that lack the network's array ``name``."""
        return cls(f'the parameters belong to another network: {name} is missing')

    @classmethod
    def wrong_shape(cls, name: str, given: tuple[int, ...], expected: tuple[int, ...]) -> ParameterFileError:
        """Return the error for an array called ``name`` whose shape does not fit the network."""
        return cls(f'the parameters belong to another network: {name} has shape {given}, but this network '
                   f'needs {expected}')


class OtherClassesError(ParameterFileError):
    """A parameter file belongs to the same network with another number of classes.

    Attributes
    ----------
    classes : int
        The number in the file.
    """

    def __init__(self, classes: int, message: str) -> None:
        super().__init__(message)
        self.classes = classes


class UsageError(ValueError):
    """A command line, or the call of a function, asks for something that is not possible."""


class FlagError(UsageError):
    """The value of a flag is wrong, or does not go with the others; ``flag`` can also be a positional."""

    def __init__(self, flag: str, message: str) -> None:
        super().__init__(f'argument {flag}: {message}')  # as argparse words its own errors


class ArgumentError(UsageError):
    """The value of an argument is not possible.

    Attributes
    ----------
    argument : str
        Its name.
    """

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(message)
        self.argument = argument


class CheckpointError(OpenatacError):
    """A checkpoint cannot be written, or a run cannot resume from it."""


class DeviceError(OpenatacError):
    """The requested devices cannot do what is asked of them."""


class UnfitEnvironment(ImportError):
    """MXNet cannot load in the environment of this process."""

    def __init__(self, message: str) -> None:
        super().__init__(message, name='mxnet')


def reason(error: Exception) -> str:
    """Return the operating system's reason for an error, or the error's own text."""
    return getattr(error, 'strerror', None) or str(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has no text."""
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text, or its type; earlier lines are often MXNet's own stack."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    return str(error).strip().splitlines() or [type(error).__name__]
