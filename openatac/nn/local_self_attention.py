"""Stand-alone self-attention in small windows, in place of convolutions.

Ramachandran, Parmar, Vaswani, Bello, Levskaya, Shlens, "Stand-Alone Self-Attention in Vision Models",
NeurIPS 2019, https://arxiv.org/abs/1906.05909, sections 2.2 (equations 2 and 3) and 3:

    y_i = sum over j in the window of i of softmax_j(q_i . k_j + q_i . r_(j - i)) v_j

The paper leaves three details open. Here, queries, keys and values are full 1x1 convolutions (required by the
parameter counts in its table), each head has its own embeddings r, and the softmax excludes pixels outside
the image.
"""
from __future__ import annotations

from typing import Any

from mxnet import init
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.argument_checks import check_odd, check_whole
from openatac.limits import MAX_CHANNELS, MAX_SIDE
from openatac.zoo.unit_arguments import MASK_LOGIT, check_heads


class StandAloneSelfAttention(HybridBlock):
    """Multi-head self-attention of each pixel over its window, with relative positions.

    Maps (B, C, H, W) of any size to (B, C_out, ceil(H / strides), ceil(W / strides)). The windows take
    k^2 times the memory of the keys and, in training, of the values too. It has 3 C C_out + k C_out weights
    and 3 C C_out + 3 k^2 C_out multiply-adds per pixel.

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
                 dilation: int = 1, in_channels: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_odd('kernel_size', kernel_size)
        check_heads(channels, heads, 2 * heads)
        self._heads = heads
        self._depth = channels // heads
        self._window = {'kernel': (kernel_size,) * 2, 'stride': (1, 1), 'dilate': (dilation,) * 2,
                        'pad': (dilation * (kernel_size // 2),) * 2}
        self._side = kernel_size
        self._pixels = kernel_size ** 2
        half = self._depth // 2
        normal = init.Normal(self._depth ** -0.5)
        with self.name_scope():
            self.query, self.key, self.value = (_pointwise(channels, in_channels) for _ in range(3))
            self.pool = nn.AvgPool2D(strides, strides, ceil_mode=True,
                                     count_include_pad=False) if strides > 1 else None
            self.rows = self.params.get('rows', shape=(heads, kernel_size, 1, half), init=normal)
            self.columns = self.params.get('columns', shape=(heads, 1, kernel_size, half), init=normal)

    def hybrid_forward(self, F, x, rows, columns):
        planes = self.query(x)
        query = _pixels_first(F, planes, self._depth)  # (B heads, H W, depth)
        logits = F.batch_dot(F.reshape(query, (-1, 1, self._depth)), self._windows(F, self.key(x)))
        logits = logits + F.reshape_like(self._positions(F, planes, rows, columns), logits)
        y = F.batch_dot(F.softmax(logits), self._windows(F, self.value(x)), transpose_b=True)
        y = F.reshape_like(F.swapaxes(F.reshape_like(y, query), 1, 2), planes)
        return y if self.pool is None else self.pool(y)

    def _windows(self, F, planes):
        """Return each pixel's and head's window in planes (B, C_out, H, W): (B heads H W, depth, k^2)."""
        windows = F.im2col(F.reshape(planes, (-1, self._depth, 0, 0)), **self._window)
        windows = F.reshape(windows, (0, -4, self._depth, self._pixels, 0))
        return F.reshape(F.transpose(windows, (0, 3, 1, 2)), (-3, 0, 0))

    def _positions(self, F, query, rows, columns):
        """Return q_i . r_(j - i), (B heads, H W, k^2), and -MASK_LOGIT where j is outside the image."""
        r = F.concat(F.broadcast_axis(rows, axis=2, size=self._side),
                     F.broadcast_axis(columns, axis=1, size=self._side), dim=3)  # (heads, k, k, depth)
        filters = self._heads * self._pixels
        logits = F.Convolution(query, F.reshape(r, (filters, self._depth, 1, 1)), kernel=(1, 1),
                               num_filter=filters, num_group=self._heads, no_bias=True)
        # Without BlockGrad, 1.9.1 crashes in the (zero) gradient of an input used only for its shape.
        plane = F.slice(F.BlockGrad(query), begin=(0, 0), end=(1, 1))
        inside = F.swapaxes(F.im2col(F.ones_like(plane), **self._window), 1, 2)  # (1, H W, k^2)
        return F.broadcast_add(_pixels_first(F, logits, self._pixels), MASK_LOGIT * (inside - 1))


class AttentionStem(HybridBlock):
    """Self-attention within blocks of 4 x 4 pixels of the image, section 3.2 and the appendix.

    A value depends on the pixel's position in its block, like a convolution's products:

        v_ab = (sum over m of p(a, b, m) W_m) x_ab,   p(a, b, .) = softmax((row_a + column_b) . nu_m)

    Maps (B, C, H, W) to (B, C_out, H, W); ``block`` must divide H and W (MXNetError otherwise). It has
    (2 + mixtures) C C_out + (2 block + mixtures) C_out weights and 3 C C_out + 2 block^2 C_out multiply-adds
    per pixel (plus the mixed matrices, once for all pixels).

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
                 in_channels: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_whole('mixtures', mixtures, 1, MAX_CHANNELS)
        check_whole('block', block, 1, MAX_SIDE)
        check_heads(channels, heads, heads)
        self._channels = channels
        self._in_channels = in_channels
        self._heads = heads
        self._depth = channels // heads
        self._block = block
        self._places = block ** 2
        with self.name_scope():
            self.query, self.key = (_pointwise(channels, in_channels) for _ in range(2))
            self.values = self.params.get('values', shape=(mixtures, channels * in_channels),
                                          init=init.Normal(in_channels ** -0.5))
            normal = init.Normal(channels ** -0.5)
            self.rows = self.params.get('rows', shape=(block, 1, channels), init=normal)
            self.columns = self.params.get('columns', shape=(1, block, channels), init=normal)
            self.mixtures = self.params.get('mixtures', shape=(mixtures, channels), init=init.Normal(1))

    def hybrid_forward(self, F, x, values, rows, columns, mixtures):
        positions = F.reshape(F.broadcast_add(rows, columns), (-3, 0))  # (block^2, C_out)
        share = F.softmax(F.dot(positions, mixtures, transpose_b=True))
        filters = self._places * self._channels
        weight = F.reshape(F.dot(share, values), (filters, self._in_channels, 1, 1))
        planes = F.Convolution(F.space_to_depth(x, self._block), weight, kernel=(1, 1), no_bias=True,
                               num_filter=filters, num_group=self._places)
        query, key, value = (self._by_block(F, part) for part in (
            F.space_to_depth(self.query(x), self._block), F.space_to_depth(self.key(x), self._block), planes))
        flat = (-1, self._places, self._depth)
        weights = F.softmax(F.batch_dot(F.reshape(query, flat), F.reshape(key, flat), transpose_b=True))
        y = F.reshape_like(F.batch_dot(weights, F.reshape(value, flat)), query)
        y = F.reshape_like(F.transpose(y, (0, 3, 2, 4, 1)), planes)
        return F.depth_to_space(y, self._block)

    def _by_block(self, F, planes):
        """Rearrange (B, block^2 C_out, h, w) to (B, h w, heads, block^2, depth)."""
        planes = F.reshape(planes, (0, self._places, self._heads, self._depth, -1))
        return F.transpose(planes, (0, 4, 2, 1, 3))


def _pixels_first(F, planes, depth):
    """Rearrange (B, heads depth, H, W) to (B heads, H W, depth)."""
    return F.swapaxes(F.reshape(F.reshape(planes, (-1, depth, 0, 0)), (0, 0, -1)), 1, 2)


def _pointwise(channels: int, in_channels: int) -> nn.Conv2D:
    return nn.Conv2D(channels, kernel_size=1, use_bias=False, in_channels=in_channels)
