"""Fine-tuning of PyTorch networks: the counterparts of `openatac.models.fine_tuning`."""
from __future__ import annotations

from torch import nn

from openatac.errors import UsageError
from openatac.pytorch.nn.normalisation import BatchNorm
from openatac.zoo.fine_tuning import frozen_head_error, frozen_norms, select_frozen


def freeze(net: nn.Module, patterns: str) -> None:
    """Exclude parameters of ``net`` from training: they become buffers.

    A completely frozen BatchNorm normalises by its running statistics in training too, and does not update
    them. For the arguments and errors, see `openatac.models.fine_tuning.freeze`.
    """
    trained = dict(net.named_parameters())
    frozen = select_frozen(net.state_dict(), trained, patterns)
    for name in frozen_norms(frozen):
        norm = net.get_submodule(name)
        if not isinstance(norm, BatchNorm):
            raise UsageError(f'{name} is a {type(norm).__name__}, whose running statistics would still '
                             'change; use openatac.pytorch.BatchNorm in your host')
        norm.use_global_stats = True
    for name, parameter in trained.items():
        if name in frozen:
            module, _, last = name.rpartition('.')
            owner = net.get_submodule(module)
            delattr(owner, last)
            owner.register_buffer(last, parameter.detach())


def scale_head_rate(net: nn.Module, head: str, factor: float) -> None:
    """Multiply the learning rate of one linear layer by ``factor``, and that of no other.

    For the arguments and errors, see `openatac.models.fine_tuning.scale_head_rate`.
    """
    rates = {name: factor for name, _ in net.named_parameters() if name.startswith(head + '.')}
    if not rates:
        raise frozen_head_error(head)
    set_rate_factors(net, rates)


def set_rate_factors(net: nn.Module, factors: dict[str, float]) -> None:
    """Store {parameter name: factor of its learning rate} in a network."""
    # In `meta`, which a torch.fx.GraphModule has anyway, and keeps when it is copied or stored.
    vars(net).setdefault('meta', {})['lr_mult'] = factors


def rate_factors(net: nn.Module) -> dict[str, float]:
    """Return the factors that `set_rate_factors` has stored; that of other parameters is 1."""
    factors: dict[str, float] = vars(net).get('meta', {}).get('lr_mult', {})
    return factors
