"""Stand-alone self-attention in PyTorch: small windows in place of convolutions.

The counterpart of `openatac.nn.local_self_attention`, which names the sources and any deviations.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openatac.argument_checks import check_odd, check_whole
from openatac.limits import MAX_CHANNELS, MAX_SIDE
from openatac.pytorch.nn.lazy_weight import conv2d
from openatac.zoo.unit_arguments import MASK_LOGIT, check_heads


class StandAloneSelfAttention(nn.Module):
    """Multi-head self-attention of each pixel over its window, with relative positions.

    Takes the arguments of `openatac.nn.local_self_attention.StandAloneSelfAttention`.
    """

    def __init__(self, channels: int, kernel_size: int = 7, heads: int = 8, strides: int = 1,
                 dilation: int = 1, in_channels: int = 0) -> None:
        super().__init__()
        check_odd('kernel_size', kernel_size)
        check_heads(channels, heads, 2 * heads)
        self.heads = heads
        self.depth = channels // heads
        self.side = kernel_size
        self.window = {'kernel_size': kernel_size, 'dilation': dilation,
                       'padding': dilation * (kernel_size // 2)}
        std = self.depth ** -0.5
        self.rows = nn.Parameter(torch.randn(heads, kernel_size, 1, self.depth // 2) * std)
        self.columns = nn.Parameter(torch.randn(heads, 1, kernel_size, self.depth // 2) * std)
        self.query, self.key, self.value = (
            conv2d(in_channels, channels, kernel_size=1) for _ in range(3))
        self.pool = nn.AvgPool2d(strides, ceil_mode=True,
                                 count_include_pad=False) if strides > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        query = self.query(x).reshape(batch, self.heads, self.depth, -1)
        logits = torch.einsum('bndi,bndji->bnij', query, self._windows(self.key(x)))
        logits = logits + torch.einsum('bndi,njd->bnij', query, self._embeddings())
        inside = F.unfold(torch.ones_like(x[:1, :1]), **self.window)  # (1, k^2, H W)
        logits = logits + MASK_LOGIT * (inside.transpose(1, 2) - 1)
        y = torch.einsum('bnij,bndji->bndi', logits.softmax(3), self._windows(self.value(x)))
        return self.pool(y.reshape(batch, -1, height, width))

    def _windows(self, planes: Tensor) -> Tensor:
        """Return each pixel's and head's window in planes (B, C_out, H, W): (B, heads, depth, k^2, H W)."""
        return F.unfold(planes, **self.window).unflatten(1, (self.heads, self.depth, self.side ** 2))

    def _embeddings(self) -> Tensor:
        """Return r for each head and neighbour: (heads, k^2, depth)."""
        shape = self.heads, self.side, self.side, self.depth // 2
        return torch.cat([self.rows.expand(shape), self.columns.expand(shape)], 3).flatten(1, 2)


class AttentionStem(nn.Module):
    """Self-attention within blocks of 4 x 4 pixels of the image, section 3.2 and the appendix.

    Takes the arguments of `openatac.nn.local_self_attention.AttentionStem`.
    """

    def __init__(self, channels: int = 64, heads: int = 4, mixtures: int = 4, block: int = 4,
                 in_channels: int = 3) -> None:
        super().__init__()
        check_whole('mixtures', mixtures, 1, MAX_CHANNELS)
        check_whole('block', block, 1, MAX_SIDE)
        check_heads(channels, heads, heads)
        self.heads = heads
        self.block = block
        self.values = nn.Parameter(torch.randn(mixtures, channels * in_channels) * in_channels ** -0.5)
        self.rows = nn.Parameter(torch.randn(block, 1, channels) * channels ** -0.5)
        self.columns = nn.Parameter(torch.randn(1, block, channels) * channels ** -0.5)
        self.mixtures = nn.Parameter(torch.randn(mixtures, channels))
        self.query, self.key = (nn.Conv2d(in_channels, channels, kernel_size=1, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        places = (self.rows + self.columns).flatten(0, 1)  # (block^2, C_out)
        mixed = torch.softmax(places @ self.mixtures.T, 1) @ self.values
        weight = mixed.unflatten(1, (-1, x.shape[1]))  # (block^2, C_out, C)
        value = torch.einsum('poc,bnpc->bnpo', weight, self._blocks(x))
        query, key, value = (part.unflatten(3, (self.heads, -1)) for part in (
            self._blocks(self.query(x)), self._blocks(self.key(x)), value))
        share = torch.einsum('bnihd,bnjhd->bnhij', query, key).softmax(4)
        y = torch.einsum('bnhij,bnjhd->bnihd', share, value).flatten(3)
        height, width = (side // self.block for side in x.shape[2:])
        return F.pixel_shuffle(y.transpose(1, 3).reshape(len(x), -1, height, width), self.block)

    def _blocks(self, planes: Tensor) -> Tensor:
        """Rearrange (B, C, H, W) to (B, blocks, block^2, C)."""
        places = F.pixel_unshuffle(planes, self.block).unflatten(1, (-1, self.block ** 2))
        return places.flatten(3).transpose(1, 3)
