"""Attention-augmented convolution: some of a convolution's channels see the whole image.

Bello, Zoph, Vaswani, Shlens, Le, "Attention Augmented Convolutional Networks", ICCV 2019,
https://arxiv.org/abs/1904.09925, equations 1 to 5 and section 3.3:

    AAConv(x) = concat(conv(x), W_O . [O_1, ..., O_heads])
    O = softmax((Q K' + S_rows + S_columns) / sqrt(d)) V     S_rows[i, j] = q_i . r_(row of j - row of i)

The paper leaves two details open. Here, the average pooling that downsamples also applies the stride, and the
1x1 convolutions have no biases.
"""
from __future__ import annotations

from typing import Any

from mxnet import init
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.zoo.unit_arguments import attention_widths


class AttentionAugmentedConv2D(HybridBlock):
    """A convolution in parallel with multi-head self-attention over all pixels, with relative positions.

    Maps (B, C, H, W) to (B, C_out, ceil(H / strides), ceil(W / strides)). The first image determines the
    number of distance embeddings, and all images must have its size (MXNetError otherwise).

    It has k^2 C (C_out - d_v) + C (2 d_k + d_v) + d_v^2 + (2 h + 2 w - 2) d_k / heads weights, where d_k is
    heads * max(key_depth, kappa C_out / heads) and d_v is heads * (upsilon C_out / heads), both quotients
    rounded to the nearest whole number (d_v's at least 1), and attention sees h x w pixels.

    Parameters
    ----------
    channels : int
        C_out, for the convolution and the attention together.
    kernel_size, strides, dilation : int, default 3, 1, 1
        The settings of the convolution.
    kappa, upsilon : float, default 0.2 and 0.1
        Share of ``channels`` for keys (and queries) and values, all heads together, as in the paper's
        networks for ImageNet.
    heads : int, default 8
        Number of attention heads.
    key_depth : int, default 20
        The minimum depth of a head's keys.
    downsample : bool, default False
        Attend at half the resolution, between a 3x3 average pooling and a bilinear interpolation. The paper
        does this to save memory, which grows with the square of the number of pixels.
    in_channels : int, default 0
        C; 0 takes it from the first input.

    Raises
    ------
    ValueError
        If the kernel is not odd, the stride is not 1 or 2, heads or key depth are below 1, or the shares are
        out of range or leave the convolution no channels.
    """

    def __init__(self, channels: int, kernel_size: int = 3, strides: int = 1, dilation: int = 1,
                 kappa: float = 0.2, upsilon: float = 0.1, heads: int = 8, key_depth: int = 20,
                 downsample: bool = False, in_channels: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._keys, values = attention_widths(channels, kernel_size, strides, kappa, upsilon, heads,
                                              key_depth)
        self._values = values
        self._downsample = downsample
        self._heads = heads
        self._depth = self._keys // heads
        with self.name_scope():
            self.conv = nn.Conv2D(channels - values, kernel_size, strides, dilation * (kernel_size // 2),
                                  dilation, use_bias=False, in_channels=in_channels)
            self.pool = nn.HybridSequential(prefix='pool_')
            for _ in range((strides > 1) + downsample):
                self.pool.add(nn.AvgPool2D(pool_size=3, strides=2, padding=1, count_include_pad=False))
            self.project = nn.Conv2D(2 * self._keys + values, 1, use_bias=False, in_channels=in_channels)
            self.output = nn.Conv2D(values, 1, use_bias=False, in_channels=values)
            self.rows, self.columns = (_RelativeLogits(self._depth) for _ in range(2))

    def hybrid_forward(self, F, x):
        local = self.conv(x)
        projected = self.project(self.pool(x))
        query, key, value = (
            F.reshape(F.slice_axis(projected, axis=1, begin=begin, end=end), (0, -4, self._heads, -1, -2))
            for begin, end in ((0, self._keys), (self._keys, 2 * self._keys), (2 * self._keys, None)))
        query = F.reshape(query * self._depth ** -0.5, (-3, 0, 0, 0))  # (B heads, d, h, w)
        key, value = (F.reshape(part, (-3, 0, -1)) for part in (key, value))  # (B heads, d, h w)
        logits = F.batch_dot(F.reshape(query, (0, 0, -1)), key, transpose_a=True)
        by_row = F.expand_dims(self.rows(query), axis=4)  # (B heads, h, w, h, 1)
        by_column = F.expand_dims(F.swapaxes(self.columns(F.swapaxes(query, 2, 3)), 1, 2), axis=3)
        logits = logits + F.reshape_like(F.broadcast_add(by_row, by_column), logits)
        mixed = F.batch_dot(value, F.softmax(logits), transpose_b=True)  # (B heads, d, h w)
        mixed = F.reshape_like(F.reshape(mixed, (-1, self._values, 0)), projected,
                               lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4)
        mixed = self.output(mixed)  # (B, d_v, h, w)
        if self._downsample:
            mixed = F.contrib.BilinearResize2D(mixed, local, mode='like')
        # As planes in a row: oneDNN can't split the gradient of images at an arbitrary channel (MXNet 1.9.1).
        both = F.concat(F.reshape(local, (0, 0, -1)), F.reshape(mixed, (0, 0, -1)), dim=1)
        return F.reshape_like(both, local, lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4)


class _RelativeLogits(HybridBlock):
    """q_i . r_(row - row of i) for each pixel i and row: queries (N, d, h, w) to (N, h, w, h).

    The first queries determine h. The 2 h - 1 embeddings are stored in the order of Python's indices: r_0,
    r_1, ... from the front and r_-1, r_-2, ... from the end.
    """

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.weight = self.params.get('weight', shape=(0, depth), init=init.Normal(depth ** -0.5),
                                          allow_deferred_init=True)

    def hybrid_forward(self, F, query, weight):
        # Without BlockGrad, 1.9.1 crashes in the (zero) gradient of an input used only for its shape.
        column = F.slice(F.BlockGrad(query), begin=(0, None, None, 0), end=(1, None, None, 1))
        column = F.transpose(F.reshape(column, (-3, -3)))  # (h, d)
        distances = F.slice_axis(F.concat(column, column, dim=0), axis=0, begin=1, end=None)
        weight = F.elemwise_add(weight, F.zeros_like(distances))  # determines the weight's shape
        row = F.contrib.arange_like(column, axis=0)
        distance = F.broadcast_sub(F.expand_dims(row, axis=0), F.expand_dims(row, axis=1))
        r = F.take(weight, distance, mode='wrap')  # (h, h, d)
        query = F.transpose(query, (2, 0, 3, 1))  # (h, N, w, d)
        logits = F.batch_dot(F.reshape(query, (0, -3, 0)), r, transpose_b=True)
        return F.swapaxes(F.reshape_like(logits, query, lhs_begin=1, lhs_end=2, rhs_begin=1, rhs_end=3), 0, 1)
