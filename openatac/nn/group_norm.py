"""Group normalisation (Wu and He, "Group Normalization", ECCV 2018, equations 1 to 6)."""
import numpy as np
from mxnet.gluon.block import HybridBlock


class GroupNorm(HybridBlock):
    """Normalises each image over ``num_groups`` groups of its channels; one scale and shift per channel.

    With the parameters (``gamma``, ``beta``, each (C,)) and the numbers of GluonCV's GroupNorm, which
    cannot be hybridized. (Gluon's own has one scale per group, not per channel.) Like BatchNorm it keeps
    float32 parameters and sums in a float16 network.

    Shapes: (B, C, H, W) to (B, C, H, W). Raises ValueError unless num_groups divides in_channels.
    """

    def __init__(self, in_channels, num_groups=32, epsilon=1e-5, gamma_initializer='ones',
                 beta_initializer='zeros', **kwargs):
        super().__init__(**kwargs)
        if in_channels % num_groups:
            raise ValueError('num_groups must divide the %d channels, and %r does not'
                             % (in_channels, num_groups))
        self._num_groups, self._epsilon, self._dtype = num_groups, epsilon, 'float32'
        with self.name_scope():
            self.gamma = self.params.get('gamma', shape=(in_channels,), init=gamma_initializer)
            self.beta = self.params.get('beta', shape=(in_channels,), init=beta_initializer)

    def cast(self, dtype):
        self._dtype = dtype
        super().cast('float32' if np.dtype(dtype).name == 'float16' else dtype)

    def hybrid_forward(self, F, x, gamma, beta):
        if np.dtype(self._dtype).name != 'float16':
            return self._normalised(F, x, gamma, beta)
        # in which the sum over a group would overflow
        return F.cast(self._normalised(F, F.cast(x, 'float32'), gamma, beta), 'float16')

    def _normalised(self, F, x, gamma, beta):
        # MXNet's operator wants a scale and shift per group: those that do nothing, of gamma's type
        first = F.slice_axis(gamma, axis=0, begin=0, end=self._num_groups)
        x = F.GroupNorm(x, F.ones_like(first), F.zeros_like(first), num_groups=self._num_groups,
                        eps=self._epsilon)
        x = F.broadcast_mul(x, F.reshape(gamma, (1, -1, 1, 1)))
        return F.broadcast_add(x, F.reshape(beta, (1, -1, 1, 1)))
