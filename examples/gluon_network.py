"""Train a network of ATAC units in Gluon, in a loop of your own: python examples/gluon_network.py."""
import numpy as np

import openatac
from openatac.data.small.digits import load_digits

import mxnet as mx  # isort: skip  (imports on today's NumPy after openatac)

EPOCHS, BATCH = 8, 32


def arrays(digits):
    """Return the digits at their own size, 8x8, as (images, labels)."""
    return (digits.images[:, :, ::4, ::4] / 127.5 - 1).astype('float32'), digits.labels


np.random.seed(0)
mx.random.seed(0)
net = openatac.get_model('cifar_resnet8_v2_atac', classes=10)
net.initialize(mx.init.MSRAPrelu())
net.hybridize()
loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
images, labels = arrays(load_digits(train=True))
test_images, test_labels = arrays(load_digits(train=False))
trainer = mx.gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': 0.1, 'momentum': 0.9, 'wd': 1e-4})

for epoch in range(EPOCHS):
    if epoch == EPOCHS - 3:
        trainer.set_learning_rate(0.01)
    order = np.random.permutation(len(images))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[start:start + BATCH]
        x = mx.nd.array(images[chosen])
        x.attach_grad()  # or MXNet on CPUs does not update the running statistics of the first BatchNorm
        with mx.autograd.record():
            losses = loss(net(x), mx.nd.array(labels[chosen]))
        losses.backward()
        trainer.step(BATCH)
    predicted = net(mx.nd.array(test_images)).argmax(axis=1).asnumpy()
    print(f'epoch {epoch}: test accuracy {(predicted == test_labels).mean():.3f}')
net.export('digits')  # digits-symbol.json and digits-0000.params
