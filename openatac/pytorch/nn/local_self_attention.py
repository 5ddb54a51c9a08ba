"""Stand-alone self-attention in small windows, in place of convolutions.

Ramachandran, Parmar, Vaswani, Bello, Levskaya, Shlens, "Stand-Alone Self-Attention in Vision Models",
NeurIPS 2019, https://arxiv.org/abs/1906.05909, sections 2.2 (equations 2 and 3) and 3:

    y_i = sum over j in the window of i of softmax_j(q_i . k_j + q_i . r_(j - i)) v_j

The paper leaves three details open. Here, queries, keys and values are full 1x1 convolutions (required by the
parameter counts in its table), each head has its own embeddings r, and the softmax excludes pixels outside
the image.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openatac.limits import MAX_CHANNELS, MAX_SIDE, check_odd, check_whole
from openatac.pytorch.nn.lazy_weight import conv2d
from openatac.zoo.unit_arguments import MASK_LOGIT, check_heads


class StandAloneSelfAttention(nn.Module):
    """Multi-head self-attention of each pixel over its window, with relative positions.

    Maps (B, C, H, W) of any size to (B, C_out, ceil(H / strides), ceil(W / strides)). The windows take
    k^2 times the memory of the keys and, in training, of the values too.

    Parameters
    ----------
    channels : int
        C_out; each head has C_out / heads, half for the rows and half for the columns of r.
    kernel_size : int, default 7
        Side k of the window.
    heads : int, default 8
        Number of attention heads.
    strides : int, default 1
        Side of an average pooling after the attention, as in section 3.1.
    dilation : int, default 1
        Distance between neighbours in the window.
    in_channels : int, default 0
        C; 0 takes it from the first input.

    Raises
    ------
    ValueError
        If the kernel is not odd, or the channels are not a multiple of twice the heads.
    """

    def __init__(self, channels: int, kernel_size: int = 7, heads: int = 8, strides: int = 1,
                 dilation: int = 1, in_channels: int = 0) -> None:
        super().__init__()
        check_odd('kernel_size', kernel_size)
        check_heads(channels, heads, 2 * heads)
        self.heads, self.depth, self.side = heads, channels // heads, kernel_size
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

    A value depends on the pixel's position in its block, like a convolution's products:

        v_ab = (sum over m of p(a, b, m) W_m) x_ab,   p(a, b, .) = softmax((row_a + column_b) . nu_m)

    Maps (B, C, H, W) to (B, C_out, H, W); ``block`` must divide H and W.

    Parameters
    ----------
    channels : int, default 64
        C_out.
    heads : int, default 4
        Number of attention heads, which share p.
    mixtures : int, default 4
        Number of matrices W_m (the paper does not say how many).
    block : int, default 4
        Side of the blocks; in the paper, the following max pooling has the same windows.
    in_channels : int, default 3
        C.

    Raises
    ------
    ValueError
        If the heads do not divide the channels, or a count is below 1.
    """

    def __init__(self, channels: int = 64, heads: int = 4, mixtures: int = 4, block: int = 4,
                 in_channels: int = 3) -> None:
        super().__init__()
        check_whole('mixtures', mixtures, 1, MAX_CHANNELS)
        check_whole('block', block, 1, MAX_SIDE)
        check_heads(channels, heads, heads)
        self.heads, self.block = heads, block
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
