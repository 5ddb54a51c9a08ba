"""The learning rate as a function of the iteration, by GluonCV's LRScheduler."""


def step_schedule(base_lr, epochs, iterations_per_epoch, decay_epochs, factor):
    """Multiply the rate by ``factor`` at the start of each of ``decay_epochs`` (the CIFAR recipe).

    Returns a function from the iteration, counted from 0 over all epochs, to the rate.
    """
    from gluoncv.utils import LRScheduler
    return LRScheduler('step', base_lr, nepochs=epochs, iters_per_epoch=iterations_per_epoch,
                       step_epoch=sorted(decay_epochs), step_factor=factor)


def decay_epochs(listed, period, epochs):
    """The epochs of ``--lr-decay-epoch`` ('300,350') or, if ``--lr-decay-period`` is set, every so many.

    Raises ValueError for a text that is no list of epochs.
    """
    if period > 0:
        return list(range(period, epochs, period))
    fields = [field.strip() for field in listed.split(',') if field.strip()]
    if not all(field.isdigit() for field in fields):
        raise ValueError('%r is not a list of epochs like 300,350' % listed)
    return [int(field) for field in fields]
