"""Which engine runs a network: MXNet's or PyTorch's. Each loads only where it is chosen."""


def on_devices(net, args, image_shape, gpus, fall_back):
    """The `GluonNetwork` or, with --engine torch, the `TorchNetwork` of ``net``.

    net : HybridBlock, not initialised; or an `openatac.training.initial.Initial`
    image_shape, gpus, fall_back : see `GluonNetwork`

    Raises DeviceError if the devices are not there; ModuleNotFoundError without PyTorch.
    """
    if args.engine == 'torch':
        from openatac.backends.torch.network import TorchNetwork
        return TorchNetwork(net, args, image_shape, gpus, fall_back)
    from openatac.backends.mxnet.network import GluonNetwork
    return GluonNetwork(net, args, image_shape, gpus, fall_back)
