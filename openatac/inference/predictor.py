"""Classify images with a trained network: `load` for programs, and the work of `openatac predict`."""
from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Union

import numpy as np

from openatac.argument_checks import check_whole
from openatac.data.batch_sizes import INFERENCE_BATCH, batched
from openatac.data.images.decoding import decode_file, to_pixels
from openatac.data.images.source import BadImageError
from openatac.errors import DataError
from openatac.evaluation.outcomes import check_outputs, softmax
from openatac.export.forms.base import form_of, prefix_of
from openatac.export.runtimes.base import CPU, open_runtime
from openatac.export.runtimes.choice import fastest_runtime
from openatac.files.run_file_names import holds_run
from openatac.inference.inference_network import load_for_inference
from openatac.limits import MAX_BATCH, MAX_CLASSES
from openatac.text import printable
from openatac.trained.input_transform import InputTransform
from openatac.trained.manifest import Manifest
from openatac.zoo.weights.pretrained import resolve_parameter_file

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

TOP = 5  # classes that are named for an image, by default
Image = Union[str, 'os.PathLike[str]', np.ndarray, 'PillowImage']


class RunnableNetwork(Protocol):
    """The interface of networks for a `Predictor`: a `Runtime` of an export, or an `InferenceNetwork`."""

    @property
    def manifest(self) -> Manifest:
        """The description of its images and classes."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return outputs (B, classes) for images, float32 (B, C, H, W)."""


class Prediction(NamedTuple):
    """A predicted class.

    Attributes
    ----------
    label : str
        Its name, or its index as text if the names are unknown.
    score : float
        Its probability.
    class_index : int
        Its index, from 0.
    """

    label: str
    score: float
    class_index: int

    def for_json(self) -> dict[str, Any]:
        """Return the prediction as a dict for ``openatac predict --json`` and ``openatac serve``."""
        return {'label': self.label, 'class': self.class_index, 'score': round(self.score, 6)}


class PredictedBatch(NamedTuple):
    """The class probabilities for a batch of image files.

    Attributes
    ----------
    names : list of str
        The names of the images.
    inputs : float32 (B, C, H, W)
    scores : float64 (B, classes)
        Probabilities.
    left_out : list of (path, reason)
        The unreadable files, which are in no other attribute.
    """

    names: list[str]
    inputs: np.ndarray
    scores: np.ndarray
    left_out: list[tuple[str, str]]


class Predictor:
    """A network that classifies images; `load` returns one.

    Parameters
    ----------
    network : RunnableNetwork
    batch_size : int
        How many images to run at a time.

    Attributes
    ----------
    network : RunnableNetwork
    manifest : Manifest
        The description of its images and classes.
    transform : InputTransform
    """

    def __init__(self, network: RunnableNetwork, batch_size: int = INFERENCE_BATCH) -> None:
        check_whole('batch_size', batch_size, 1, MAX_BATCH)
        self.network = network
        self.batch_size = batch_size
        self.manifest: Manifest = network.manifest
        self.transform = InputTransform(self.manifest)

    def with_manifest(self, manifest: Manifest) -> Predictor:
        """Return a predictor with another description of the same network, such as with other labels."""
        other = copy.copy(self)
        other.manifest = manifest
        other.transform = InputTransform(manifest)
        return other

    @property
    def labels(self) -> list[str]:
        """The name of each class, without characters that cannot be encoded."""
        return [*map(self._label, range(self.manifest.classes))]

    def _label(self, index: int) -> str:
        return printable(self.manifest.labels[index] if self.manifest.labels else str(index))

    def __call__(self, images: Any, top: int = TOP) -> list[Any]:
        """Classify one image or several.

        Parameters
        ----------
        images : image, or iterable of images
            An image is the path of a file, a Pillow image, or an array, uint8 (H, W, 3), RGB. An array of
            shape (N, H, W, 3) is N images.
        top : int
            How many classes to return for each image.

        Returns
        -------
        list of Prediction, or list of lists of Prediction
            The most probable classes, best first; a list of such lists for several images.

        Raises
        ------
        DataError
            For a file that cannot be read or is not an image.
        ValueError
            For an array of another shape or type.
        """
        check_whole('top', top, 1, MAX_CLASSES)
        if _is_single(images):
            return next(self._classify([images], top))
        return [*self._classify(images, top)]

    def _classify(self, images: Iterable[Image], top: int) -> Iterator[list[Prediction]]:
        for batch in batched(_named(images), self.batch_size):
            inputs = np.stack([self._input(image, name) for name, image in batch])
            scores = probabilities(self.network(inputs), [name for name, _ in batch])
            yield from (self.best(each, top) for each in scores)

    def best(self, scores: np.ndarray, top: int) -> list[Prediction]:
        """Return the most probable classes of an image with the given scores (classes,), best first."""
        return [Prediction(self._label(index), float(scores[index]), index)
                for index in (-scores).argsort(kind='stable')[:top].tolist()]

    def _input(self, image: Image, name: str) -> np.ndarray:
        try:
            return self.transform(_pixels(image))
        except BadImageError as error:
            raise DataError(f'{name} cannot be used: {error}') from None

    def predict(self, paths: Iterable[str]) -> Iterator[PredictedBatch]:
        """Yield a `PredictedBatch` for each batch of image files."""
        for batch in batched(paths, self.batch_size):
            names, inputs, left_out = [], [], []
            for path in batch:
                try:
                    inputs.append(self.transform(decode_file(path)))
                    names.append(printable(path))
                except BadImageError as error:
                    left_out.append((path, str(error)))
            if inputs:
                images = np.stack(inputs)
                yield PredictedBatch(names, images, probabilities(self.network(images), names), left_out)
            else:
                nothing = np.empty((0, *self.manifest.image_shape), 'float32')
                yield PredictedBatch([], nothing, np.empty((0, self.manifest.classes)), left_out)


def load(source: str | os.PathLike[str], engine: str = 'auto', device: str = CPU,
         batch_size: int = INFERENCE_BATCH) -> Predictor:
    """Load a trained network for classifying images.

    Parameters
    ----------
    source : path
        The PREFIX of an export or one of its files, the folder of a run, one of the run's parameter files, or
        the name of a network with trained weights (see `openatac.zoo.weights.pretrained`).
    engine : str
        The library that runs it: for an export, one of `openatac.export.runtimes.base.RUNTIMES`, such as
        'onnxruntime' or 'torch'; for a run, 'mxnet' or 'torch'. 'auto' selects, for an export, the fastest
        one installed; for a run, MXNet on the CPU where it can build the network, and PyTorch otherwise.
    device : str, default 'cpu'
        'cpu', or a GPU by PyTorch's name, 'cuda' or 'cuda:1'.
    batch_size : int, default 32
        How many images to run at a time.

    Returns
    -------
    Predictor

    Raises
    ------
    OpenatacError
        If there is no such network, its files are damaged, or no installed engine can run it.
    ValueError
        For an unknown engine.

    Examples
    --------
    >>> predictor = openatac.load('export/atac')
    >>> predictor('photo.jpg', top=1)
    [Prediction(label='tench', score=0.97, class_index=0)]
    """
    path = resolve_parameter_file(os.fspath(source))
    run = path if os.path.isdir(path) else os.path.dirname(path)
    is_file = os.path.isfile(path) and form_of(path) is None
    if (is_file or os.path.isdir(path)) and holds_run(run):
        return Predictor(load_for_inference(run, path if is_file else None, engine, device), batch_size)
    name = fastest_runtime(path, device) if engine == 'auto' else engine
    return Predictor(open_runtime(prefix_of(path), name, device), batch_size)


def _is_single(images: Any) -> bool:
    return (isinstance(images, (str, os.PathLike)) or hasattr(images, 'getbands')  # a Pillow image
            or (isinstance(images, np.ndarray) and images.ndim == 3))


def _named(images: Iterable[Image]) -> Iterator[tuple[str, Image]]:
    """Yield (name for messages, image)."""
    for index, image in enumerate(images):
        name = printable(os.fspath(image)) if isinstance(image, (str, os.PathLike)) else f'image {index}'
        yield name, image


def _pixels(image: Image) -> np.ndarray:
    """Return an image's pixels, uint8 (H, W, 3)."""
    if isinstance(image, (str, os.PathLike)):
        return decode_file(os.fspath(image))
    if not isinstance(image, np.ndarray):
        if not hasattr(image, 'getbands'):  # a Pillow image
            raise ValueError('an image must be a path, a Pillow image or an array, not '
                             f'{type(image).__name__}')
        return to_pixels(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError('an array must be an image of shape (H, W, 3), or several of shape (N, H, W, 3), in '
                         f'uint8, not {image.shape} in {image.dtype}')
    return image


def probabilities(outputs: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return probabilities (B, classes); raise OpenatacError if an output is infinite or not a number."""
    for output, name in zip(outputs, names):
        check_outputs(output, f'for {name}')
    return softmax(outputs)
