"""The base class of the forms of an export, and their registry.

An export is a set of files whose names begin with one PREFIX: the manifest PREFIX.json and the files of each
form. A `Form` defines its files, how they are written and how closely they must agree with the network. The
runtimes that load them are in `openatac.export.runtimes`.
"""
from __future__ import annotations

import abc
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from openatac.errors import UsageError
from openatac.export.int8.calibration_methods import CALIBRATION_METHODS
from openatac.files.export_file_names import MANIFEST_SUFFIX
from openatac.registry import Registry
from openatac.trained.manifest import Manifest

if TYPE_CHECKING:
    import mxnet as mx
    import numpy as np

    from openatac.export.parity import ParityCheck
    from openatac.library import NetworkFunction

Load = Callable[[Manifest], 'NetworkFunction']


class ExportSettings(NamedTuple):
    """What to export.

    Attributes
    ----------
    forms : sequence of Form
        For a PyTorch module, only forms that do not need MXNet.
    calibration_method : str
        How the INT8 form is calibrated, see `openatac.export.int8.calibration_methods`; ONNX INT8 uses the
        extremes.
    dynamic_size : bool
        Whether ONNX files accept images of any size.
    """

    forms: Sequence[Form]
    calibration_method: str = CALIBRATION_METHODS[0]
    dynamic_size: bool = False

    @property
    def has_quantized(self) -> bool:
        """Whether a form needs calibration images."""
        return any(form.is_quantized for form in self.forms)


class NetworkToWrite(NamedTuple):
    """A network to write as a form.

    Attributes
    ----------
    net : HybridBlock or torch.nn.Module
        The network, in float32.
    function : callable
        Maps images, float32 (B, C, H, W), to outputs, both NumPy arrays.
    symbol : mxnet.Symbol or None
        None for a module.
    arrays : dict
        {'arg:NAME' or, for running statistics, 'aux:NAME': NDArray}; empty for a module.
    manifest : Manifest
        The manifest, still without reports.
    settings : ExportSettings
    calibration_images : sequence of float32 (B, C, H, W)
        Inputs to calibrate quantized forms on.
    """

    net: Any
    function: NetworkFunction
    symbol: mx.sym.Symbol | None
    arrays: dict[str, mx.nd.NDArray]
    manifest: Manifest
    settings: ExportSettings
    calibration_images: Sequence[np.ndarray]


class Form(abc.ABC):
    """A file format for exporting networks.

    Attributes
    ----------
    name : str
        Its name in the manifest's reports and in tables.
    suffixes : tuple of str
        The endings of its file names, after PREFIX.
    runtime : str
        The name of the runtime that loads it for the parity check, and later by default.
    flags : tuple of str
        The flags of ``openatac export`` that together select it; () for a form that is always written.
    help : str
        The help text of its flag.
    precisions : tuple of str
        The manifest precisions in which it can be exported.
    is_quantized : bool
        Whether it is calibrated on images, can differ from the network, and gets its accuracy measured.
    needs_mxnet : bool
        Whether it supports only Gluon networks, not PyTorch modules.
    """

    name: str
    suffixes: tuple[str, ...]
    runtime: str
    flags: tuple[str, ...] = ()
    help: str = ''
    precisions: tuple[str, ...] = ('float32', 'float16')
    is_quantized: bool = False
    needs_mxnet: bool = True

    def files(self, prefix: str) -> list[str]:
        """Return the paths of its files in the export ``prefix``."""
        return [prefix + suffix for suffix in self.suffixes]

    def missing(self, prefix: str) -> str | None:
        """Return its first missing file, or None."""
        return next((path for path in self.files(prefix) if not os.path.isfile(path)), None)

    @abc.abstractmethod
    def write(self, network: NetworkToWrite, prefix: str) -> None:
        """Write its files, which compute the network's outputs in evaluation."""

    def tolerance(self, manifest: Manifest) -> float | None:
        """Return how closely it must agree with the network; see `ParityCheck.report`."""
        from openatac.export.parity import REORDERED_TOLERANCE
        return None if self.is_quantized else REORDERED_TOLERANCE

    def details(self, network: NetworkToWrite, prefix: str, check: ParityCheck, load: Load) -> dict[str, Any]:
        """Return further entries for its report, besides the parity check's figures; 'note' is printed.

        ``load(manifest)`` returns the function that the written files compute, with the given manifest.
        """
        return {}

    def remarks(self, report: dict[str, Any]) -> list[str]:
        """Return the lines that the command prints about its report."""
        return [report[key] for key in ('warning', 'note') if key in report]


# ------------------------------------------------------------------------------------ registry

FORMS: Registry[Form] = Registry('form', hyphens=True)


def register_form(form: Form) -> None:
    """Add a form, which ``openatac export`` writes if its flags are given.

    Parameters
    ----------
    form : Form
        Its runtime must be registered with `openatac.register_runtime`.

    Raises
    ------
    ValueError
        If its name, or the name of one of its files, is taken.
    """
    taken = {MANIFEST_SUFFIX, *(suffix for other in FORMS.values() for suffix in other.suffixes)}
    for suffix in form.suffixes:
        if suffix in taken:
            raise ValueError(f'form {form.name!r}: files that end in {suffix!r} belong to another form')
    FORMS.register(form.name, form)


def form_of(path: str) -> Form | None:
    """Return the form that the file ``path`` belongs to; None for a PREFIX or a manifest."""
    return _find(path)[0]


def prefix_of(path: str) -> str:
    """Return the PREFIX of the export at ``path``, which is PREFIX itself or any of its files."""
    return path.removesuffix(_find(path)[1] or MANIFEST_SUFFIX)


def check_export_name(prefix: str) -> None:
    """Raise UsageError if a file of the export ``prefix`` would belong to the export of another prefix."""
    for path in [prefix + MANIFEST_SUFFIX, *(path for form in FORMS.values() for path in form.files(prefix))]:
        other = prefix_of(path)
        if other != prefix:
            raise UsageError(f'{prefix!r} cannot be the name of an export, because {path} belongs to one '
                             f'called {other!r}: choose another')


def _find(path: str) -> tuple[Form | None, str]:
    """Return the form and the suffix of a file, by the longest matching suffix."""
    matches = [(form, suffix) for form in FORMS.values() for suffix in form.suffixes if path.endswith(suffix)]
    return max(matches, key=lambda match: len(match[1]), default=(None, ''))
