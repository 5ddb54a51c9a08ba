"""train_imagenet.py with a network of some 250 parameters in ResNet-50's place, run with the same flags."""
from openatac.commands import train_imagenet
from openatac.commands.train import run
from openatac.distributed import workers


def small_host():
    """A host whose networks have a convolution, and a BatchNorm that sees its output but changes nothing.

    So workers compute what one process does with all images, and yet have running statistics of their own.
    """
    from mxnet.gluon import HybridBlock, nn

    from openatac.models.hosts import Host

    class Small(HybridBlock):
        def __init__(self, act_type='relu', classes=2, norm_layer=nn.BatchNorm):
            super().__init__()
            with self.name_scope():
                self.convolution = nn.Conv2D(8, kernel_size=3, strides=2, in_channels=3, activation='relu')
                self.norm = norm_layer(in_channels=8)
                self.output = nn.Dense(classes, in_units=8)

        def hybrid_forward(self, F, x):
            x = self.convolution(x)
            x = x + 0 * self.norm(x)
            return self.output(x.mean(axis=(2, 3)))

    return Host('small', Small, data='imagenet')


def main():
    join = workers.start

    def join_and_shrink(kvstore):  # only then may MXNet be imported
        cluster = join(kvstore)
        from openatac.training import network
        network.IMAGENET_HOST = small_host()
        return cluster

    workers.start = join_and_shrink
    run(train_imagenet.main)


if __name__ == '__main__':
    main()
