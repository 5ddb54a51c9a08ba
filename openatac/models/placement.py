"""Which activation slots of a host network get the unit under study.

Both hosts have four slots, front to back: the CIFAR host its three stages and the activation
after the last one, the ImageNet host its four stages. ``act_layers`` of the four get
``act_type``, the others ``replace_act``: the last ones (``act_order='bac'``, from the back) or
the first ones (``'pre'``).
"""
from openatac.arguments import check_whole

SLOTS = 4
ORDERS = ('bac', 'pre')


def place(act_type, replace_act, act_layers, act_order='bac'):
    """The activation's name for each of the four slots.

    Raises ValueError for ``act_layers`` outside 0..4 and an unknown ``act_order``.
    """
    check_whole('act_layers', act_layers, 0, SLOTS)
    if act_order not in ORDERS:
        raise ValueError('act_order must be bac (from the back) or pre (from the front), not %r'
                         % (act_order,))
    others = [replace_act] * (SLOTS - act_layers)
    chosen = [act_type] * act_layers
    return others + chosen if act_order == 'bac' else chosen + others
