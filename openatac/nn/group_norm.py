"""Group normalisation.

Wu, He, "Group Normalization", ECCV 2018, https://arxiv.org/abs/1803.08494, equations 1 to 6, with one scale
and shift per channel as in GluonCV's GroupNorm, which cannot be hybridized. (Gluon's GroupNorm has one per
group.)
"""
from __future__ import annotations

from typing import Any

import numpy as np
from mxnet.gluon.block import HybridBlock

from openatac.zoo.unit_arguments import check_groups


class GroupNorm(HybridBlock):
    """Normalises each image over groups of its channels; (B, C, H, W) to the same shape.

    The parameters ``gamma`` and ``beta`` are (C,). Like BatchNorm, it uses float32 parameters and sums in a
    float16 network.

    Parameters
    ----------
    in_channels : int
        C, the channels of the input.
    num_groups : int, default 32
        Number of groups, a divisor of C.
    epsilon : float, default 1e-5
        Added to the variance.
    gamma_initializer, beta_initializer : str or mxnet.init.Initializer, default 'ones' and 'zeros'
        Initial values of the parameters.

    Raises
    ------
    ValueError
        If ``num_groups`` does not divide ``in_channels``.
    """

    def __init__(self, in_channels: int, num_groups: int = 32, epsilon: float = 1e-5,
                 gamma_initializer: Any = 'ones', beta_initializer: Any = 'zeros', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_groups(in_channels, num_groups)
        self._num_groups = num_groups
        self._epsilon = epsilon
        self._dtype = 'float32'
        with self.name_scope():
            self.gamma = self.params.get('gamma', shape=(in_channels,), init=gamma_initializer)
            self.beta = self.params.get('beta', shape=(in_channels,), init=beta_initializer)

    def cast(self, dtype: Any) -> None:
        """Compute in another precision; for float16, the parameters stay in float32."""
        self._dtype = dtype
        super().cast('float32' if np.dtype(dtype).name == 'float16' else dtype)

    def hybrid_forward(self, F, x, gamma, beta):
        if np.dtype(self._dtype).name != 'float16':
            return self._normalised(F, x, gamma, beta)
        # Sums over a group would overflow in float16.
        return F.cast(self._normalised(F, F.cast(x, 'float32'), gamma, beta), 'float16')

    def _normalised(self, F, x, gamma, beta):
        # MXNet's operator needs a scale and a shift per group: ones and zeros of gamma's type.
        first = F.slice_axis(gamma, axis=0, begin=0, end=self._num_groups)
        x = F.GroupNorm(x, F.ones_like(first), F.zeros_like(first), num_groups=self._num_groups,
                        eps=self._epsilon)
        x = F.broadcast_mul(x, F.reshape(gamma, (1, -1, 1, 1)))
        return F.broadcast_add(x, F.reshape(beta, (1, -1, 1, 1)))
