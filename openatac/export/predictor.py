"""Probabilities of classes for image files, by an exported network."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from openatac.errors import OpenatacError
from openatac.export.forms.base import Form, prefix_of
from openatac.export.image_files import BadImage, InputTransform, find_images, read_file, to_pixels
from openatac.export.manifest import Manifest, read_manifest
from openatac.export.runtimes.base import open_runtime, runtime_for


class Prediction(NamedTuple):
    """What the network sees in a batch of images.

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
        What the names of the export's files begin with, or one of them, which is then used.
    runtime : str, optional
        The name of what runs the network, one of `openatac.export.runtimes.base.RUNTIMES`.

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
        """The form of the export that runs."""
        return self._runtime.form

    @property
    def labels(self) -> list[str]:
        """The name of each class as text that every terminal takes."""
        names = self.manifest.labels or range(self.manifest.classes)
        return [printable(str(name)) for name in names]

    def predict(self, paths: Iterable[str], batch_size: int) -> Iterator[Prediction]:
        """Yield a `Prediction` for each batch of images; ``left_out`` gets those that can't be read."""
        for names, images in self._batches(paths, batch_size):
            yield Prediction(names, images, _softmax(self._runtime(images), names))

    def _batches(self, paths: Iterable[str], size: int) -> Iterator[tuple[list[str], np.ndarray]]:
        names: list[str] = []
        images: list[np.ndarray] = []
        for path in paths:
            try:
                images.append(self.transform(to_pixels(read_file(path))))
                names.append(printable(path))
            except BadImage as error:
                self.left_out.append((path, str(error)))
            if len(images) == size:
                yield names, np.stack(images)
                names, images = [], []
        if images:
            yield names, np.stack(images)


def image_paths(names: Iterable[str]) -> list[str]:
    """The image files that ``names`` stand for: files, folders to their bottom, or - for standard input."""
    return list(find_images(list(names)))


def printable(name: str) -> str:
    """The name of a file or a class as text that every terminal takes: it may be any bytes."""
    return os.fsencode(name).decode('utf-8', 'backslashreplace')


def _softmax(outputs: np.ndarray, names: list[str]) -> np.ndarray:
    """Probabilities (B, classes); OpenatacError if an output is infinite or not a number."""
    wrong = ~np.isfinite(outputs).all(axis=1)
    if wrong.any():
        raise OpenatacError(f'the outputs for {names[int(wrong.argmax())]} are infinite or not numbers: '
                            'export parameters of a run that did not diverge')
    powers = np.exp(outputs.astype('float64') - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
