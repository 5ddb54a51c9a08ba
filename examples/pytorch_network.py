"""Train a network of ATAC units in PyTorch, without MXNet: python examples/pytorch_network.py."""
import torch
from torch.nn.functional import cross_entropy

from openatac.data.small.digits import load_digits
from openatac.pytorch import get_model, save_parameters

EPOCHS, BATCH = 8, 32


def tensors(digits):
    """Return the digits at their own size, 8x8, as (images, labels)."""
    return torch.tensor(digits.images[:, :, ::4, ::4] / 127.5 - 1).float(), torch.tensor(digits.labels).long()


torch.manual_seed(0)
net = get_model('cifar_resnet8_v2_atac', classes=10)
images, labels = tensors(load_digits(train=True))
test_images, test_labels = tensors(load_digits(train=False))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [EPOCHS - 3])

for epoch in range(EPOCHS):
    net.train()
    for chosen in torch.randperm(len(images)).split(BATCH)[:-1]:
        optimizer.zero_grad()
        cross_entropy(net(images[chosen]), labels[chosen]).backward()
        optimizer.step()
    schedule.step()
    net.eval()
    with torch.no_grad():
        accuracy = (net(test_images).argmax(1) == test_labels).float().mean()
    print(f'epoch {epoch}: test accuracy {accuracy:.3f}')
save_parameters(net, 'digits.params')  # Gluon's format: both libraries read it
