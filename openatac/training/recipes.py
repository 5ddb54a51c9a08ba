"""The published settings by name. ``--recipe NAME`` applies them all; flags override individual ones.

`openatac.study.published.numbers` has the published results, and docs/how-to/reproduce.md the costs.

cifar100_atac, cifar10_atac
    "Attention as Activation", section IV, on CIFAR: NAG with momentum 0.9, rate 0.2 divided by 10
    at epochs 300 and 350 of 400, weight decay 1e-4, batch 128, ATAC with r = 2 and an inner ReLU
    in every slot of a ResNet-20. It is the published command (see openatac/commands/train_cifar.py).
    The CIFAR-100 recipe uses the 20 superclasses, which the published script reads.

imagenet_atac
    "Attention as Activation", section IV, on ImageNet: 160 epochs on two GPUs with 128 images each in
    float16, NAG, rate 0.075 after 5 epochs of warm-up, then a cosine to 0, labels smoothed by 0.1, the last
    gamma of each block initialised to zero, no weight decay for biases, gammas and betas, ATAC with r = 2
    in the last two stages. It is the published command (see openatac/commands/train_imagenet.py).

digits
    A few seconds per epoch on two CPU cores: scikit-learn's digits, 8 epochs, rate 0.1 divided by
    10 at epochs 5 and 7, batch 32, one block per stage. Expected: test accuracy over 0.97.
"""

from typing import Any

from openatac.zoo.units import ATAC

_CIFAR = dict(
    model='atac', act_type=ATAC, useReLU=True, r=2, blocks=3, act_layers=4, gpus='0', mode='hybrid',
    num_epochs=400, batch_size=128, lr=0.2, momentum=0.9, wd=1e-4, lr_decay=0.1, lr_decay_period=0,
    lr_decay_epoch='300,350',
)
CIFAR: dict[str, dict[str, Any]] = {
    'cifar10_atac': dict(_CIFAR, dataset='cifar10'),
    'cifar100_atac': dict(_CIFAR, dataset='cifar100', cifar100_labels='coarse'),
    'digits': dict(
        _CIFAR, dataset='digits', blocks=1, gpus='', num_epochs=8, batch_size=32, lr=0.1,
        lr_decay_epoch='5,7'),
}
IMAGENET: dict[str, dict[str, Any]] = {
    'imagenet_atac': dict(
        act_type=ATAC, r=2, act_layers=2, last_gamma=True, num_classes=1000, use_rec=True,
        input_size=224, crop_ratio=0.875, num_workers=48, batch_size=128, num_gpus=2, dtype='float16',
        mode='hybrid', num_epochs=160, lr=0.075, momentum=0.9, wd=1e-4, no_wd=True, lr_mode='cosine',
        warmup_lr=0.0, warmup_epochs=5, label_smoothing=True),
}
