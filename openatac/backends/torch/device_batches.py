"""Batches made on the device: the whole data set stays in a GPU's memory, and training copies nothing.

CIFAR's 50,000 padded images take 50,000 x 3 x 40 x 40 bytes, 240 MB. The order, crops and flips match
`openatac.data.small.batches`, and the values equal its values bit for bit on every device.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from openatac.data.batch_sizes import WHOLE, ProcessShare
from openatac.data.small import transforms
from openatac.data.small.batches import EvaluationSmallImageBatches, TrainingSmallImageBatches
from openatac.data.small.image_set import ImageSet
from openatac.data.small.transforms import PAD


class DeviceTrainingBatches(TrainingSmallImageBatches):
    """`TrainingSmallImageBatches` of PyTorch tensors on ``device``, such as 'cuda:0', with int64 labels.

    Preparing batches ahead gains nothing (``ahead`` is 0): a batch is a handful of kernels, which the device
    queues like the steps that use them. Nor may another thread prepare them, because a kernel launched from
    another thread breaks the capture of a CUDA graph.

    Parameters
    ----------
    images : ImageSet
    batch_size, seed : int
    device : str
    layout : torch.memory_format
        Of the images.
    share : ProcessShare
    """

    ahead = 0

    def __init__(self, images: ImageSet, batch_size: int, seed: int, device: str,
                 layout: torch.memory_format = torch.contiguous_format, share: ProcessShare = WHOLE) -> None:
        super().__init__(images, batch_size, seed, share=share)
        self._normalise = _Normalise(device, layout)
        pixels = _pixels_on(device, images)
        self._height, self._width = pixels.shape[1:3]
        self._padded = torch.nn.functional.pad(pixels, (0, 0, PAD, PAD, PAD, PAD))
        self._labels = _labels_on(device, images)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Yield (float32 (B, 3, H, W), int64 (B,)) from batch ``start`` of ``epoch``, from 0."""
        order, rows, columns, labels = self._plan(epoch)
        for batch in range(start, self.batches_in(epoch)):
            positions = self._positions(batch)
            # Crops and flips are index arithmetic, so one kernel fetches the pixels of all images, (B, H, W,
            # 3), however many there are. The indices are broadcast, not written out.
            pixels = self._padded[order[positions, None, None], rows[positions, :, None],
                                  columns[positions, None, :]]
            yield self._normalise(pixels), labels[positions]

    def _plan(self, epoch: int) -> tuple[torch.Tensor, ...]:
        """Return the epoch's images (N,), their rows (N, H) and columns (N, W) when padded, and labels (N,).

        All are in training order, int64 on the device, which receives a whole epoch's choices at once.
        """
        choices = transforms.draw_choices(len(self.images), self.seed, epoch, self.images.mirror)
        of_image = np.stack([np.arange(len(self.images)), choices.top, choices.left, choices.mirrored])
        device = self._padded.device
        order, top, left, mirrored = torch.from_numpy(of_image[:, choices.order].astype('int64')).to(device)
        across = torch.arange(self._width, device=device)
        columns = left[:, None] + torch.where(mirrored[:, None] > 0, across.flip(0), across)
        rows = top[:, None] + torch.arange(self._height, device=device)
        return order, rows, columns, self._labels[order]


class DeviceEvaluationBatches(EvaluationSmallImageBatches):
    """`EvaluationSmallImageBatches` of PyTorch tensors on ``device``; see `DeviceTrainingBatches`."""

    ahead = 0

    def __init__(self, images: ImageSet, batch_size: int, device: str,
                 layout: torch.memory_format = torch.contiguous_format,
                 share: ProcessShare = WHOLE) -> None:
        super().__init__(images, batch_size, share=share)
        self._normalise = _Normalise(device, layout)
        self._pixels, self._labels = _pixels_on(device, self.images), _labels_on(device, self.images)

    def __iter__(self) -> Iterator[Any]:
        parts = self._pixels.split(self.batch_size), self._labels.split(self.batch_size)
        return ((self._normalise(pixels), labels) for pixels, labels in zip(*parts))


class _Normalise:
    """`transforms.normalise` on a device: uint8 (B, H, W, 3) to float32 (B, 3, H, W).

    Looks values up in a table that NumPy computed for the 256 levels of each channel. The values therefore
    equal NumPy's on every device, whereas PyTorch on a GPU may multiply by the reciprocal instead of
    dividing. Also, one kernel replaces three.
    """

    def __init__(self, device: str, layout: torch.memory_format) -> None:
        levels = np.arange(256, dtype='uint8')
        values = transforms.normalise(np.broadcast_to(levels, (1, 3, 1, 256)))
        self._table = torch.from_numpy(values).to(device).flatten()
        self._first = torch.arange(0, 3 * 256, 256, device=device)  # where each channel's levels begin
        self._layout = layout

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._table[pixels + self._first].permute(0, 3, 1, 2).contiguous(memory_format=self._layout)


def _pixels_on(device: str, images: ImageSet) -> torch.Tensor:
    """Return uint8 (N, H, W, 3): channels last, so that one index fetches the three bytes of a pixel."""
    return torch.from_numpy(np.array(images.images.transpose(0, 2, 3, 1), order='C')).to(device)


def _labels_on(device: str, images: ImageSet) -> torch.Tensor:
    return torch.from_numpy(images.labels.astype('int64')).to(device)
