"""Probabilities of classes for image files, by an exported network."""
from __future__ import annotations

import os
from typing import Iterable, Iterator, List, NamedTuple, Tuple

import numpy as np

from openatac.errors import OpenatacError
from openatac.export.images import BadImage, InputTransform, find_images, read_file, to_pixels
from openatac.export.manifest import Description, prefix_of, read_description
from openatac.export.runtimes import engine_for, open_engine


class Prediction(NamedTuple):
    """What the network sees in a batch of images.

    names : of the images; inputs : float32 (B, C, H, W); scores : probabilities (B, classes)
    """

    names: List[str]
    inputs: np.ndarray
    scores: np.ndarray


class Predictor:
    """An exported network that classifies image files.

    Parameters
    ----------
    export : str
        What the names of the export's files begin with, or one of them, which is then used.
    engine : str, optional
        What runs the network, one of `openatac.export.runtimes.ENGINES`.

    Attributes
    ----------
    prefix, description : of the export
    left_out : list of (path, reason)
        The images that could not be read so far.
    """

    def __init__(self, export: str, engine: str = ''):
        self.prefix = prefix_of(export)
        self.description: Description = read_description(self.prefix)
        self.transform = InputTransform(self.description)
        self._engine = open_engine(self.prefix, engine or engine_for(export))
        self.left_out: List[Tuple[str, str]] = []

    @property
    def form(self) -> str:
        """The form of the export that runs."""
        return self._engine.form

    @property
    def labels(self) -> List[str]:
        """The name of each class as text that every terminal takes."""
        names = self.description.labels or range(self.description.classes)
        return [printable(str(name)) for name in names]

    def predict(self, paths: Iterable[str], batch_size: int) -> Iterator[Prediction]:
        """Yield a `Prediction` for each batch of images; ``left_out`` gets those that can't be read."""
        for names, images in self._batches(paths, batch_size):
            yield Prediction(names, images, _softmax(self._engine(images), names))

    def _batches(self, paths: Iterable[str], size: int) -> Iterator[Tuple[List[str], np.ndarray]]:
        names: List[str] = []
        images: List[np.ndarray] = []
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


def image_paths(names: Iterable[str]) -> List[str]:
    """The image files that ``names`` stand for: files, folders to their bottom, or - for standard input."""
    return list(find_images(list(names)))


def printable(name: str) -> str:
    """The name of a file or a class as text that every terminal takes: it may be any bytes."""
    return os.fsencode(name).decode('utf-8', 'backslashreplace')


def _softmax(outputs: np.ndarray, names: List[str]) -> np.ndarray:
    """Probabilities (B, classes); OpenatacError if an output is infinite or not a number."""
    wrong = ~np.isfinite(outputs).all(axis=1)
    if wrong.any():
        raise OpenatacError(f'the outputs for {names[int(wrong.argmax())]} are infinite or not numbers: '
                            'export parameters of a run that did not diverge')
    powers = np.exp(outputs.astype('float64') - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
