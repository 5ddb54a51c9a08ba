"""Statistics of the gates of a trained run over its test images."""
from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from openatac.errors import OpenatacError
from openatac.training.config import CifarConfig, ImagenetConfig
from openatac.training.run_folder import RunFolder
from openatac.training.sections.cifar import CifarData

if TYPE_CHECKING:
    import numpy as np

# Images at a time: a ResNet-110 with ATAC takes 1 GB for them, and ResNet-50 has 25 times as many pixels.
CIFAR_BATCH, IMAGENET_BATCH = 32, 8


def gates_of_run(folder: str, params: str = 'best', images: int | None = None,
                 dataset: str | None = None, data_dir: str | None = None) -> list[dict[str, Any]]:
    """Compute the statistics of a run's gates over its test images, in testing mode, on the CPU.

    Parameters
    ----------
    folder : str
        Of a run of train_cifar.py or train_imagenet.py.
    params : str
        'best', 'last' or a parameter file.
    images : int, optional
        How many to use, evenly spread over the test set; by default all.
    dataset : str, optional
        Other images than the run's own, for a run of train_cifar.py.
    data_dir : str, optional
        Where the images are, if not where the run had them.

    Returns
    -------
    list of dict
        {column: value} for each gate: 'network', 'dataset', 'parameters' (the name of their file), and those
        of `openatac.study.gates.statistics.COLUMNS`.

    Raises
    ------
    OpenatacError
        If the run has no gates, has diverged, or lacks a file.
    """
    from openatac.models.parameters import load_parameters
    from openatac.study.gates.statistics import gate_statistics
    run = RunFolder(folder)
    net, network, config = run.network()
    if isinstance(config, CifarConfig):
        data = dataclasses.replace(config.data, data_dir=data_dir or config.data.data_dir,
                                   dataset=dataset or config.data.dataset)  # type: ignore[arg-type]
        source, batches = str(data.dataset), _cifar_images(data, images)
    else:
        if dataset:
            raise OpenatacError(f'--dataset {dataset} has no images for {folder}, a run of '
                                'train_imagenet.py: leave it out')
        source, batches = 'imagenet', _photos(config, images, data_dir)
    path = run.file(params + '.params') if params in ('best', 'last') else params
    load_parameters(net, path)
    try:
        rows = gate_statistics(net, batches)
    except FloatingPointError as error:
        raise OpenatacError(f'{path} is of a run that diverged ({error}): train again with a smaller --lr'
                            ) from None
    if not rows:
        raise OpenatacError(f'{folder} has no gates, since no unit of {network} multiplies its input by '
                            'anything: name runs of ATAC, SE or other gated units')
    about = {'network': network, 'dataset': source, 'parameters': os.path.basename(path)}
    return [{**about, **row} for row in rows]


def _cifar_images(data: CifarData, count: int | None) -> Iterator[np.ndarray]:
    """Yield batches of test images, reading them when the first one is needed."""
    from openatac.data.batches import EvaluationBatches
    from openatac.training.runs.datasets import load
    test_set = load(data, train=False)
    chosen = _spread(len(test_set), count)
    test_set = dataclasses.replace(test_set, images=test_set.images[chosen], labels=test_set.labels[chosen])
    for images, _ in EvaluationBatches(test_set, CIFAR_BATCH):
        yield images


def _photos(config: ImagenetConfig, count: int | None, data_dir: str | None) -> Iterator[np.ndarray]:
    """Yield batches of photographs."""
    from openatac.data.photos.batches import EvaluationPhotos
    from openatac.training.runs.datasets import open_photos
    data = config.data
    if data_dir:
        data = dataclasses.replace(data, data_dir=data_dir, use_rec=False)
    source = open_photos(data, 'val', config.network.classes)
    chosen = _Chosen(source, _spread(len(source), count))
    for images, _ in EvaluationPhotos(chosen, data.input_size, IMAGENET_BATCH, data.centre,
                                      max_bad_share=data.max_bad_share):
        yield images


class _Chosen:
    """The photographs of a source whose indices are ``chosen``."""

    def __init__(self, source: Any, chosen: Sequence[int]) -> None:
        self._source, self._chosen = source, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def name(self, index: int) -> str:
        return self._source.name(self._chosen[index])

    def read(self, index: int) -> tuple[bytes, int]:
        return self._source.read(self._chosen[index])


def _spread(total: int, count: int | None) -> list[int]:
    """Return the indices of ``count`` of ``total`` images, evenly spread, or of all if there are fewer."""
    count = min(count or total, total)
    return [total * index // count for index in range(count)]
