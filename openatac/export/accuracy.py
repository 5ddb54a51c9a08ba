"""The accuracy of quantized forms, compared with the network's, on labelled images."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from openatac.errors import DataError, OpenatacError
from openatac.export.forms.base import FORMS
from openatac.export.runtimes.base import open_runtime
from openatac.files.export_file_names import MANIFEST_SUFFIX
from openatac.files.writing import replace_file
from openatac.library import GLUON, NetworkFunction, library_of
from openatac.trained import input_images
from openatac.trained.input_images import InputImages
from openatac.trained.input_transform import sample_batches
from openatac.trained.manifest import read_manifest, write_manifest
from openatac.trained.trained_network import TrainedNetwork


def find_labelled(trained: TrainedNetwork, folder: str | None, other_names: Sequence[str] = ()
                  ) -> tuple[InputImages | None, list[str]]:
    """Return labelled images from ``folder`` or, without one, the network's test images.

    If there are none, return None, with log lines that say why. For ``other_names``, see
    `openatac.trained.input_images.from_class_folders`.
    """
    if folder:
        return input_images.from_class_folders(folder, trained.manifest, other_names), []
    try:
        return trained.open_images(train=False), []
    except DataError as error:
        return None, [f"INT8's accuracy was not measured, since {error}; give labelled images with --measure"]


def measure_quantized(trained: TrainedNetwork, prefix: str, labelled: InputImages, count: int) -> str:
    """Measure the accuracy of a network and its quantized forms, and add it to the export's manifest.

    Parameters
    ----------
    trained : TrainedNetwork
    prefix : str
        The prefix of its export.
    labelled : InputImages
    count : int
        The largest number of images to use, evenly spread.

    Returns
    -------
    str
        A log line with the accuracies.
    """
    manifest = read_manifest(prefix)
    forms = [name for name in manifest.reports if FORMS.find(name).is_quantized]
    runtimes = [open_runtime(prefix, FORMS.find(name).runtime) for name in forms]
    library = library_of(trained.net)
    if library is GLUON:
        trained.net.hybridize(static_alloc=True)
    networks: list[NetworkFunction] = [library.function(trained.net), *runtimes]
    (before, *after), images = accuracies(networks, sample_batches(labelled, trained.manifest, count))
    for name, accuracy in zip(forms, after):
        manifest.reports[name]['accuracy'] = {'float32': before, 'int8': accuracy, 'images': images}
    with replace_file(prefix + MANIFEST_SUFFIX) as temporary:
        write_manifest(temporary, manifest)
    return f'accuracy on {images} labelled images: {before:.4f} in float32, ' + ', '.join(
        f'{accuracy:.4f} in {name}' for name, accuracy in zip(forms, after))


def accuracies(networks: Sequence[NetworkFunction],
               batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[list[float], int]:
    """Return the share of images that each network classifies correctly.

    Parameters
    ----------
    networks : sequence of callable
        Each maps images, float32 (B, C, H, W), to outputs (B, classes), both NumPy arrays.
    batches : iterable of (images, labels)

    Returns
    -------
    (list of float, int)
        The accuracies, and the number of images.

    Raises
    ------
    OpenatacError
        If there are no images.
    """
    right = [0] * len(networks)
    image_count = 0
    for images, labels in batches:
        for index, network in enumerate(networks):
            right[index] += int((network(images).argmax(axis=1) == labels).sum())
        image_count += len(labels)
    if not image_count:
        raise OpenatacError('there are no images to measure the accuracy on')
    return [count / image_count for count in right], image_count
