"""Statistics of the gates of a trained run over its test images."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from openatac.errors import OpenatacError
from openatac.files.run_file_names import BEST, LAST
from openatac.library import PYTORCH, library_of
from openatac.options.declaration import with_changes
from openatac.training.config import CifarConfig, Config, ImagenetConfig, with_images_in
from openatac.training.run_folder import RunFolder
from openatac.training.sections.cifar import CifarData

# Images at a time: a ResNet-110 with ATAC takes 1 GB for them, and ResNet-50 has 25 times as many pixels.
SMALL_BATCH, PHOTO_BATCH = 32, 8


def gates_of_run(folder: str, params: str = 'best', image_count: int | None = None,
                 dataset: str | None = None, data_dir: str | None = None) -> list[dict[str, Any]]:
    """Compute the statistics of a run's gates over its test images, in evaluation mode, on the CPU.

    Parameters
    ----------
    folder : str
        The folder of a run of train_cifar.py or train_imagenet.py.
    params : str
        'best', 'last' or a parameter file.
    image_count : int, optional
        The number of images to use, evenly spread over the test set; by default all.
    dataset : str, optional
        A data set to use instead of the run's own, for a run of train_cifar.py.
    data_dir : str, optional
        The folder of the images, by default the run's.

    Returns
    -------
    list of dict
        {column: value} for each gate: 'network', 'dataset', 'parameters' (the name of their file), and the
        columns in `openatac.study.gates.gate_sums.COLUMNS`.

    Raises
    ------
    OpenatacError
        If the run has no gates, has diverged, or lacks a file.
    """
    run = RunFolder(folder)
    built = run.network()
    config: Config = built.config
    if data_dir:
        config = with_images_in(config, data_dir)
    if isinstance(config, CifarConfig):
        if dataset:
            config = with_changes(config, dataset=dataset)
        source = str(config.data.dataset)
        batches = _small_images(config.data, image_count)
    elif dataset:
        raise OpenatacError(f'--dataset {dataset} has no images for {folder}, a run of train-imagenet: '
                            'leave it out')
    else:
        source = 'imagenet'
        batches = _photographs(config, image_count)
    file = {'best': BEST, 'last': LAST}.get(params)
    path = run.file(file) if file else params
    library_of(built.net).load_parameters(built.net, path)
    try:
        rows = _statistics(built.net)(built.net, batches)
    except FloatingPointError as error:
        raise OpenatacError(f'{path} is from a run that diverged ({error}): train again with a smaller --lr'
                            ) from None
    if not rows:
        raise OpenatacError(f'{folder} has no gates, since no unit of {built.name} multiplies its input by '
                            'anything: give runs of ATAC, SE or other gated units')
    about = {'network': built.name, 'dataset': source, 'parameters': os.path.basename(path)}
    return [{**about, **row} for row in rows]


def _statistics(net: Any) -> Callable[..., list[dict[str, Any]]]:
    if library_of(net) is PYTORCH:
        from openatac.study.gates.torch_gates import gate_statistics
    else:
        from openatac.study.gates.gluon_gates import gate_statistics
    return gate_statistics


def _small_images(data: CifarData, count: int | None) -> Iterator[np.ndarray]:
    """Yield batches of test images, read on first use and normalised as in training, to the last bit."""
    from openatac.data.sampling import evenly_spread
    from openatac.data.small.batches import EvaluationSmallImageBatches
    from openatac.training.datasets.cifar import load_small_images
    images = load_small_images(data, train=False)
    sample = images.select(np.array(evenly_spread(len(images), count)))
    for batch, _ in EvaluationSmallImageBatches(sample, SMALL_BATCH):
        yield batch


def _photographs(config: ImagenetConfig, count: int | None) -> Iterator[np.ndarray]:
    """Yield batches of photographs."""
    from openatac.data.images.subset import ImageSubset
    from openatac.data.photos.batches import EvaluationPhotoBatches
    from openatac.data.sampling import evenly_spread
    from openatac.training.datasets.imagenet import open_photos
    data = config.data
    photos = open_photos(data, config.classes, train=False)
    sample = ImageSubset(photos, np.array(evenly_spread(len(photos), count)))
    batches = EvaluationPhotoBatches(sample, data.input_size, PHOTO_BATCH, data.effective_crop_ratio,
                                     max_bad_share=data.max_bad_share)
    for images, _ in batches:
        yield images
