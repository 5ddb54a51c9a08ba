"""The factor that keeps small float16 gradients from vanishing (Micikevicius et al., 2018, section 3.2)."""
import mxnet as mx

from openatac.errors import OpenatacError


class LossScale:
    """Doubled after ``patience`` steps in a row with finite gradients, halved after one without.

    scale : float; the factor to begin with
    """

    def __init__(self, scale=2.0 ** 10, patience=2000):
        self.scale, self.patience = scale, patience
        self.good_steps = 0

    def finite(self, gradients):
        """Whether all of a list of NDArrays are finite; adapts the scale for the next step.

        It waits for the gradients. Raises OpenatacError if they overflow at hardly any scale at all.
        """
        if self._all_finite(gradients):
            self.good_steps += 1
            if self.good_steps == self.patience:
                self.scale, self.good_steps = min(2 * self.scale, 2.0 ** 24), 0
            return True
        self.scale, self.good_steps = self.scale / 2, 0
        if self.scale < 2.0 ** -10:
            raise OpenatacError('the gradients are not finite at any loss scale: the last checkpoint is '
                                'kept; use a smaller --lr')
        return False

    @staticmethod
    def _all_finite(gradients, chunk=200):
        verdict = mx.nd.ones(1, gradients[0].context)
        for start in range(0, len(gradients), chunk):
            some = gradients[start:start + chunk]
            mx.nd.multi_all_finite(*some, num_arrays=len(some), init_output=False, out=verdict)
        return bool(verdict.asscalar())

    def state(self):
        """What `load_state` needs."""
        return {'scale': self.scale, 'good_steps': self.good_steps}

    def load_state(self, state):
        """Go back to what `state` returned."""
        self.scale, self.good_steps = state['scale'], state['good_steps']
