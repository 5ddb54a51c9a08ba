"""The base class of the runtimes that run exports, and their registry.

A runtime maps images, float32 (B, C, H, W), to outputs (B, classes), both NumPy arrays. The flags
``--engine`` and ``--engines`` select it by name. It imports its library only when that is needed, because
MXNet and PyTorch each start a team of OpenMP threads.
"""
from __future__ import annotations

import abc
import contextlib
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from openatac.errors import DeviceError, OpenatacError, last_line
from openatac.export.forms.base import Form
from openatac.files.export_checksums import check_files
from openatac.registry import Registry
from openatac.trained.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    import numpy as np


CPU = 'cpu'


class Runtime(abc.ABC):
    """An export, loaded and ready to run.

    Define a subclass at the top of a module: the processes of ``openatac bench`` import it by name.

    Parameters
    ----------
    prefix : str
        The common prefix of the export's files.
    manifest : Manifest
        The manifest of the export.
    device : str
        'cpu', or a GPU by PyTorch's name, 'cuda' or 'cuda:1'.

    Attributes
    ----------
    name : str
        Its name for ``--engine``.
    form : Form
        The form it runs.
    package : str
        The package that it needs, if any.
    no_package : str
        The error message if the package is missing, with installation advice.

    Raises
    ------
    OpenatacError
        For files that are missing or damaged, or do not fit the manifest.
    """

    name: str
    form: Form
    package: str = ''
    no_package: str = ''

    @classmethod
    def obstacle(cls, prefix: str) -> str | None:
        """Return the reason, for an error message, why it cannot run the export ``prefix``, or None."""
        if cls.package and importlib.util.find_spec(cls.package) is None:
            return cls.no_package
        missing = cls.form.missing(prefix)
        return f'{missing} is missing: export the form {cls.form.name!r} too' if missing else None

    @classmethod
    def has_device(cls, device: str) -> bool:
        """Return whether it can run on the device, given that its library is installed."""
        return device == CPU

    @classmethod
    def open(cls, prefix: str, device: str = CPU) -> Runtime:
        """Load the export ``prefix``; raise OpenatacError if it cannot run."""
        manifest, obstacle = read_manifest(prefix), cls.obstacle(prefix)
        if obstacle:
            raise OpenatacError(f'{prefix} cannot be run by the engine {cls.name}, since {obstacle}')
        if not cls.has_device(device):
            raise DeviceError(f'the engine {cls.name} has no device {device!r} here: choose {CPU!r}')
        return cls(prefix, manifest, device)

    def __init__(self, prefix: str, manifest: Manifest, device: str = CPU) -> None:
        self.prefix = prefix
        self.manifest = manifest
        self.device = device
        check_files(prefix, self.form.files(prefix))
        with self._failures('be loaded', ': export again'):
            self.load()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return outputs (B, classes) for images (B, C, H, W); raise OpenatacError for another shape."""
        _, height, width = shape = self.manifest.image_shape
        if images.shape[1:] != shape:
            raise OpenatacError(f'{self.prefix} takes images of shape {shape}, but these have '
                                f'{images.shape[1:]}: resize them')
        with self._failures(f'run on images of {height} x {width} pixels'):
            outputs = self.run(images)
        if outputs.shape != (len(images), self.manifest.classes):
            raise OpenatacError(f'{self.prefix} has outputs of shape {outputs.shape[1:]}, but its manifest '
                                f'has {self.manifest.classes} classes: export again')
        return outputs

    @abc.abstractmethod
    def load(self) -> None:
        """Read the form's files in the export ``self.prefix``."""

    @abc.abstractmethod
    def run(self, images: np.ndarray) -> np.ndarray:
        """Return the outputs for images of the right shape."""

    @contextlib.contextmanager
    def _failures(self, what: str, advice: str = '') -> Iterator[None]:
        """Convert any error from the library to OpenatacError: libraries share no base class for errors."""
        try:
            yield
        except (OpenatacError, ImportError):
            raise
        except Exception as error:
            raise OpenatacError(f'{self.prefix} cannot {what} by the engine {self.name} '
                                f'({last_line(error)}){advice}') from error


# ------------------------------------------------------------------------------------ registry

RUNTIMES: Registry[type[Runtime]] = Registry('runtime', hyphens=True)


def register_runtime(runtime: type[Runtime]) -> None:
    """Add a runtime for `load` and for every command with ``--engine`` or ``--engines``.

    Parameters
    ----------
    runtime : subclass of Runtime

    Raises
    ------
    ValueError
        If its name is taken.
    """
    RUNTIMES.register(runtime.name, runtime)


def open_runtime(prefix: str, name: str, device: str = CPU) -> Runtime:
    """Open the export ``prefix`` in the runtime ``name``; raise OpenatacError if it cannot run."""
    return RUNTIMES.find(name, 'engine').open(prefix, device)


def runtimes_of(prefix: str) -> list[str]:
    """Return the names of the runtimes that can run the export, in registration order."""
    return [runtime.name for runtime in RUNTIMES.values() if runtime.obstacle(prefix) is None]
