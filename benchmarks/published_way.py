"""The baseline of the benchmark: the same network trained the way the published script does.

Gluon's DataLoader with worker processes and the published per-image transforms, MXNet's own choice
of threads, ``net.hybridize()``, and a host read of the loss and the accuracy in every batch. It is
written from the recipe's description, and prints a line ``Speed: ...`` every --log-interval batches.
"""
import argparse
import os
import resource
import time

import openatac  # noqa: F401  (without it, MXNet does not load for the baseline either)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--data-dir', required=True, help='a folder with data_batch_1.bin and so on')
    p.add_argument('--blocks', type=int, default=3)
    p.add_argument('--batch-size', type=int, default=128)
    p.add_argument('-j', '--workers', type=int, default=2)
    p.add_argument('--epochs', type=int, default=1)
    p.add_argument('--log-interval', type=int, default=10)
    train(p.parse_args())


def loaders(folder, batch_size, workers):
    """(training, test) DataLoaders with the published transforms."""
    import mxnet as mx
    import numpy as np
    from gluoncv.data import transforms as gcv_transforms
    from mxnet import gluon
    from mxnet.gluon.data.vision import transforms
    normalise = [transforms.ToTensor(),
                 transforms.Normalize([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])]
    augment = transforms.Compose([gcv_transforms.RandomCrop(32, pad=4),
                                  transforms.RandomFlipLeftRight(), *normalise])

    class MadeUpCIFAR10(gluon.data.vision.CIFAR10):
        """Gluon's own data set, but for its check of the files, which would download the real ones."""

        def _get_data(self):
            names = [f'data_batch_{k}.bin' for k in range(1, 6)] if self._train else ['test_batch.bin']
            data, label = zip(*(self._read_batch(os.path.join(self._root, name)) for name in names))
            self._data = mx.nd.array(np.concatenate(data), dtype='uint8')
            self._label = np.concatenate(label)

    sets = [MadeUpCIFAR10(folder, train=train).transform_first(transform)
            for train, transform in ((True, augment), (False, transforms.Compose(normalise)))]
    return (gluon.data.DataLoader(sets[0], batch_size, shuffle=True, last_batch='discard',
                                  num_workers=workers),
            gluon.data.DataLoader(sets[1], batch_size, shuffle=False, num_workers=workers))


def train(args):
    import mxnet as mx
    from mxnet import autograd, gluon

    from openatac.models.cifar_resnet import ResNet20V2ATAC
    context = [mx.cpu()]
    net = ResNet20V2ATAC(layers=[args.blocks] * 3)
    net.initialize(mx.init.MSRAPrelu(), ctx=context)
    net.hybridize()
    training, test = loaders(args.data_dir, args.batch_size, args.workers)
    trainer = gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': 0.2, 'wd': 1e-4, 'momentum': 0.9})
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    for _ in range(args.epochs):
        metric, since = mx.metric.Accuracy(), time.perf_counter()
        total, images = 0.0, 0
        for index, batch in enumerate(training, 1):
            data = gluon.utils.split_and_load(batch[0], context)
            label = gluon.utils.split_and_load(batch[1], context)
            with autograd.record():
                outputs = [net(x) for x in data]
                losses = [loss_function(output, y) for output, y in zip(outputs, label)]
            for loss in losses:
                loss.backward()
            trainer.step(args.batch_size)
            total += sum(loss.sum().asscalar() for loss in losses)
            metric.update(label, outputs)
            images += args.batch_size
            if index % args.log_interval == 0:
                now = time.perf_counter()
                print(f'Speed: {images / (now - since):.1f} samples/sec', flush=True)
                since, images = now, 0
        evaluation = mx.metric.Accuracy()
        for batch in test:
            evaluation.update([batch[1]], [net(batch[0].as_in_context(context[0]))])
        print(f'epoch done, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} kB', flush=True)


if __name__ == '__main__':
    main()
