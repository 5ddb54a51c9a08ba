"""Attention-augmented convolution in PyTorch: some of a convolution's channels see the whole image.

The counterpart of `openatac.nn.augmented_conv`, which names the sources and any deviations.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openatac.pytorch.nn.lazy_weight import ShapedByInput, conv2d
from openatac.zoo.unit_arguments import attention_widths


class AttentionAugmentedConv2D(nn.Module):
    """A convolution in parallel with multi-head self-attention over all pixels, with relative positions.

    Takes the arguments of `openatac.nn.augmented_conv.AttentionAugmentedConv2D`. Raises ValueError for an
    image of another size than the first.
    """

    def __init__(self, channels: int, kernel_size: int = 3, strides: int = 1, dilation: int = 1,
                 kappa: float = 0.2, upsilon: float = 0.1, heads: int = 8, key_depth: int = 20,
                 downsample: bool = False, in_channels: int = 0) -> None:
        super().__init__()
        self.keys, self.values = attention_widths(channels, kernel_size, strides, kappa, upsilon, heads,
                                                  key_depth)
        self.heads = heads
        self.depth = self.keys // heads
        self.downsample = downsample
        self.conv = conv2d(in_channels, channels - self.values, kernel_size, stride=strides,
                           padding=dilation * (kernel_size // 2), dilation=dilation)
        self.pool = nn.Sequential(*(nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
                                    for _ in range((strides > 1) + downsample)))
        self.project = conv2d(in_channels, 2 * self.keys + self.values, 1)
        self.output = nn.Conv2d(self.values, self.values, 1, bias=False)
        self.rows, self.columns = (RelativeLogits() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        local = self.conv(x)
        projected = self.project(self.pool(x))
        batch, _, height, width = projected.shape
        query, key, value = (part.reshape(batch * self.heads, -1, height, width)
                             for part in projected.split([self.keys, self.keys, self.values], 1))
        query = query * self.depth ** -0.5
        logits = torch.einsum('ndhw,ndij->nhwij', query, key)
        logits = logits + self.rows(query)[..., None]
        logits = logits + self.columns(query.transpose(2, 3)).transpose(1, 2)[..., None, :]
        share = logits.flatten(3).softmax(3).reshape(logits.shape)
        mixed = torch.einsum('nhwij,ndij->ndhw', share, value)
        mixed = self.output(mixed.reshape(batch, self.values, height, width))
        if self.downsample:
            mixed = F.interpolate(mixed, local.shape[2:], mode='bilinear', align_corners=True)
        return torch.cat([local, mixed], 1)


class RelativeLogits(ShapedByInput):
    """q_i . r_(row - row of i) for each pixel i and row: queries (N, d, h, w) to (N, h, w, h).

    The 2 h - 1 embeddings are stored in the order of Python's indices: r_0, r_1, ... from the front and r_-1,
    r_-2, ... from the end.
    """

    def shape_for(self, query: Tensor) -> tuple[int, ...]:
        return 2 * query.shape[2] - 1, query.shape[1]

    def draw_weight(self) -> None:
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)

    def forward(self, query: Tensor) -> Tensor:
        if len(self.weight) != 2 * query.shape[2] - 1:
            raise ValueError(f'the first image had {(len(self.weight) + 1) // 2} pixels here, not '
                             f'{query.shape[2]}: give images of one size')
        row = torch.arange(query.shape[2], device=query.device)
        r = self.weight[row[None] - row[:, None]]  # (h, h, d)
        return torch.einsum('ndiw,ijd->niwj', query, r)
