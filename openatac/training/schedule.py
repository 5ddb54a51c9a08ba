"""The learning rate as a function of the iteration, by GluonCV's LRScheduler."""
MODES = ('step', 'poly', 'cosine')


def step_schedule(base_lr, epochs, iterations_per_epoch, decay_epochs, factor):
    """Multiply the rate by ``factor`` at the start of each of ``decay_epochs`` (the CIFAR recipe).

    Returns a function from the iteration, counted from 0 over all epochs, to the rate.
    """
    from gluoncv.utils import LRScheduler
    return LRScheduler('step', base_lr, nepochs=epochs, iters_per_epoch=iterations_per_epoch,
                       step_epoch=sorted(decay_epochs), step_factor=factor)


def warmup_schedule(mode, base_lr, epochs, iterations_per_epoch, warmup_epochs=0, warmup_lr=0.0,
                    decay_epochs=(), factor=0.1):
    """From ``warmup_lr`` in a line to ``base_lr``, then by ``mode`` to the end (the ImageNet recipe).

    mode : 'step' (times ``factor`` at each of ``decay_epochs``), 'poly' (a parabola to 0) or 'cosine' (to 0)
    iterations_per_epoch : int; as published, images // batch, which the epochs of a record reader that
        rounds its last batch up may exceed: see `openatac.data.photo_batches.first_iteration`

    Returns a function from the iteration, counted from 0 over all epochs, to the rate. As MXNet's
    optimizers do, which count an update before they ask for its rate, it begins one step ahead.
    """
    from gluoncv.utils import LRScheduler, LRSequential
    if mode not in MODES:
        raise ValueError('there is no schedule %r: choose one of %s' % (mode, ', '.join(MODES)))
    if not 0 <= warmup_epochs <= epochs:
        raise ValueError('%d warm-up epochs do not fit into %d epochs' % (warmup_epochs, epochs))
    if 1 in (warmup_epochs * iterations_per_epoch, (epochs - warmup_epochs) * iterations_per_epoch):
        raise ValueError('a schedule of one iteration has no beginning and end: train on more images, for '
                         'more epochs or with a smaller --batch-size')
    steps = [epoch - warmup_epochs for epoch in sorted(decay_epochs)]
    schedule = LRSequential([
        LRScheduler('linear', base_lr=warmup_lr, target_lr=base_lr, nepochs=warmup_epochs,
                    iters_per_epoch=iterations_per_epoch),
        LRScheduler(mode, base_lr, target_lr=0, nepochs=epochs - warmup_epochs,
                    iters_per_epoch=iterations_per_epoch, step_epoch=steps, step_factor=factor, power=2)])
    return lambda iteration: schedule(iteration + 1)


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
