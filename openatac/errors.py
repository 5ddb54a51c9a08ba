"""Failures that a user can cause, and mend.

Each message is one sentence: the wrong value, what would be right, what to do. The scripts
print it without a traceback and exit with code 1.
"""

NO_PYTORCH = "PyTorch is not installed: run pip install 'openatac[torch]'"


class OpenatacError(RuntimeError):
    """A run cannot go on, for a reason that the message tells."""


class DataError(OpenatacError):
    """A data set is missing, damaged or not what its name says."""


class ParameterFileError(OpenatacError):
    """A parameter file is unreadable or belongs to another network."""


class CheckpointError(OpenatacError):
    """A checkpoint cannot be written, or cannot be continued from."""


class DeviceError(OpenatacError):
    """The devices asked for cannot run what is asked of them."""
