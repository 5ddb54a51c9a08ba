"""Classifies image files with an exported network."""
from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from openatac.console.text import printable
from openatac.data.photos.bad_images import BadImage
from openatac.data.photos.codec import decode
from openatac.errors import OpenatacError
from openatac.evaluation.outcomes import softmax
from openatac.export.forms.base import Form, prefix_of
from openatac.export.images.files import read_file
from openatac.export.images.inputs import InputTransform
from openatac.export.manifest import Manifest, read_manifest
from openatac.export.runtimes.base import open_runtime, runtime_for


class Prediction(NamedTuple):
    """The probabilities of the classes for a batch of images.

    Attributes
    ----------
    names : list of str
        Of the images.
    inputs : float32 (B, C, H, W)
    scores : float64 (B, classes)
        Probabilities.
    """

    names: list[str]
    inputs: np.ndarray
    scores: np.ndarray


class Predictor:
    """An exported network that classifies image files.

    Parameters
    ----------
    export : str
        The common prefix of the export's files, or one of the files, which is then used.
    runtime : str, optional
        The name of the runtime, one of `openatac.export.runtimes.base.RUNTIMES`.

    Attributes
    ----------
    prefix : str
        Of the export.
    manifest : Manifest
    transform : InputTransform
    left_out : list of (path, reason)
        The images that could not be read so far.
    """

    def __init__(self, export: str, runtime: str = ''):
        self.prefix = prefix_of(export)
        self.manifest: Manifest = read_manifest(self.prefix)
        self.transform = InputTransform(self.manifest)
        self._runtime = open_runtime(self.prefix, runtime or runtime_for(export))
        self.left_out: list[tuple[str, str]] = []

    @property
    def form(self) -> Form:
        """The form of the export that is run."""
        return self._runtime.form

    @property
    def labels(self) -> list[str]:
        """The name of each class, as text that any terminal can show."""
        names = self.manifest.labels or range(self.manifest.classes)
        return [printable(str(name)) for name in names]

    def predict(self, paths: Iterable[str], batch_size: int) -> Iterator[Prediction]:
        """Yield a `Prediction` for each batch of images; ``left_out`` gets those that can't be read."""
        inputs = self._inputs(paths)
        while batch := list(itertools.islice(inputs, batch_size)):
            names, images = [name for name, _ in batch], np.stack([image for _, image in batch])
            yield Prediction(names, images, _probabilities(self._runtime(images), names))

    def _inputs(self, paths: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, input) of each image that can be read."""
        for path in paths:
            try:
                yield printable(path), self.transform(decode(read_file(path)))
            except BadImage as error:
                self.left_out.append((path, str(error)))


def _probabilities(outputs: np.ndarray, names: list[str]) -> np.ndarray:
    """Return probabilities (B, classes); OpenatacError if an output is infinite or not a number."""
    wrong = ~np.isfinite(outputs).all(axis=1)
    if wrong.any():
        raise OpenatacError(f'the outputs for {names[int(wrong.argmax())]} are infinite or NaN: '
                            'export parameters of a run that did not diverge')
    return softmax(outputs)
