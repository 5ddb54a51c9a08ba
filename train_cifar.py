#!/usr/bin/env python3
"""Train a CIFAR network with ATAC or another activation, by the recipe of "Attention as Activation".

The published command works as it stands:

    python train_cifar.py --gpus 0 --num-epochs 400 --mode hybrid -j 32 --batch-size 128 --wd 0.0001 \\
        --lr 0.2 --lr-decay 0.1 --lr-decay-epoch 300,350 --dataset cifar100 --model atac \\
        --act-type ChaATAC --useReLU --r 2 --blocks 3
"""
import argparse
import os
import sys

from openatac.arguments import BATCH, BLOCKS, COUNT, FROM_ZERO, POSITIVE, RATIO, SEED, number
from openatac.training.engine_flags import add_engine, check_engine, find_network, require_mxnet
from openatac.training.flags import add_reports, check_rates, parse_with_recipe, run
from openatac.training.recipes import CIFAR


def parser():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                allow_abbrev=False)  # --recipe is looked for by its whole name
    count, share = number(int, low=1, high=COUNT), number(float, low=0, below=1)
    network = p.add_argument_group('network')
    network.add_argument('--model', default='atac', help='atac (built of the flags below), or a name such as '
                         'cifar_resnet20_v2_swish or cifar_resnet18_v1_atac (default: %(default)s)')
    network.add_argument('--blocks', type=number(int, low=1, high=BLOCKS),
                         help='blocks per stage (default: 3, a ResNet-20)')
    network.add_argument('--act-type',
                         help='relu, prelu, elu, selu, gelu, swish, mish, frelu, sine, xunit or ChaATAC '
                         '(default: ChaATAC)')
    network.add_argument('--attention', help="what ends each block's main path, such as se (default: none)")
    network.add_argument('--reduction', type=RATIO, default=16,
                         help='channel reduction ratio of --attention (default: %(default)s)')
    network.add_argument('--r', type=RATIO, default=2,
                         help='channel reduction ratio of ChaATAC (default: %(default)s)')
    network.add_argument('--act-layers', type=number(int, low=0, high=4), default=4,
                         help='how many of the four slots, from the back, get --act-type; others get relu')
    network.add_argument('--useGlobal', action=argparse.BooleanOptionalAction, default=False,
                         help='pool globally in ChaATAC (SE as activation)')
    network.add_argument('--useReLU', action=argparse.BooleanOptionalAction, default=False,
                         help="ChaATAC's inner ReLU")
    network.add_argument('--drop-rate', type=share, default=0.0,
                         help="dropout before a block's second convolution")
    network.add_argument('--summary', action='store_true', help='print the layers and stop')
    data = p.add_argument_group('data')
    data.add_argument('--dataset', choices=('cifar10', 'cifar100', 'digits'), default='cifar10')
    data.add_argument('--data-dir', help="where the files are, or are put (default: Gluon's own folder)")
    data.add_argument('--data-url', help='a mirror of the CIFAR archives (or set OPENATAC_DATA_URL)')
    data.add_argument('--cifar100-labels', choices=('fine', 'coarse'), default='fine',
                      help="100 classes, or the 20 superclasses that the published script reads")
    data.add_argument('-j', '--num-data-workers', '--num_workers', type=number(int, low=0, high=COUNT),
                      default=0,
                      help='accepted as published; batches are made by one thread, which is faster')
    training = p.add_argument_group('training')
    training.add_argument('--recipe',
                          help='take the settings of a recipe: cifar10_atac, cifar100_atac, digits')
    training.add_argument('--gpus', default='', help='GPUs to train on, such as 0,1 (default: the CPU)')
    training.add_argument('--batch-size', type=number(int, low=1, high=BATCH), default=128,
                          help='images per device')
    training.add_argument('--num-epochs', type=number(int, low=1, high=COUNT), default=400)
    training.add_argument('--lr', type=POSITIVE, default=0.2)
    training.add_argument('--momentum', type=share, default=0.9)
    training.add_argument('--wd', type=FROM_ZERO, default=1e-4)
    training.add_argument('--lr-decay', type=POSITIVE, default=0.1)
    training.add_argument('--lr-decay-period', type=number(int, low=0, high=COUNT), default=0,
                          help='decay every so many epochs instead of at --lr-decay-epoch')
    training.add_argument('--lr-decay-epoch', default='300,350', help='epochs at whose start the rate decays')
    training.add_argument('--mode', choices=('hybrid', 'imperative'), default='hybrid')
    training.add_argument('--dtype', choices=('float32', 'float16', 'bfloat16'), default='float32')
    training.add_argument('--seed', type=number(int, low=0, high=SEED), default=0)
    add_engine(p)
    output = p.add_argument_group('output')
    output.add_argument('--save-dir', default='params', help='folder of this run (default: %(default)s)')
    output.add_argument('--save-period', type=number(int, low=0, high=COUNT), default=0,
                        help='keep the parameters every so many epochs (best and last are always kept)')
    output.add_argument('--save-plot-dir', help='folder of the history picture (default: --save-dir)')
    output.add_argument('--log-interval', type=count, default=50,
                        help='batches between two looks at the metrics')
    add_reports(output)
    start = p.add_argument_group('start')
    start.add_argument('--resume', choices=('auto', 'never'), default='never',
                       help='auto: go on from the newest checkpoint in --save-dir, if there is one')
    start.add_argument('--resume-from', metavar='FILE.params', help='start from these parameters')
    start.add_argument('--evaluate', metavar='FILE.params', help='only test these parameters')
    start.add_argument('--dry-run', type=count, metavar='N',
                       help='do N batches of each part, print what they take, leave only the log')
    return p


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    p = parser()
    args = parse_with_recipe(p, CIFAR, argv)
    from openatac.runtime.devices import parse_gpus
    from openatac.training.schedule import decay_epochs
    try:
        decays = decay_epochs(args.lr_decay_epoch, args.lr_decay_period, args.num_epochs)
        check_rates(args.lr, args.lr_decay, sum(epoch < args.num_epochs for epoch in decays))
        check_engine(args, len(parse_gpus(args.gpus)))
    except ValueError as error:
        p.error(str(error))
    from openatac.training.datasets import Reading
    from openatac.training.tracking import log_to
    log_to()
    require_mxnet(args)  # before anything is downloaded
    only_network = args.summary or args.write_initial
    data = None if only_network else Reading(args, (False,) if args.evaluate else (True, False))
    try:
        net, name = find_network(args, p, CIFAR, argv, build)
    except ValueError as error:
        p.error(str(error))
    if only_network:
        from openatac.training import cifar_network
        return cifar_network.print_or_write(net, name, args)
    from openatac.training import cifar
    if args.evaluate:
        return cifar.evaluate(net, args, data)
    cifar.train(net, name, args, data, decays, ' '.join([os.path.basename(sys.argv[0])] + argv))
    if args.export and not args.dry_run:
        from openatac.export.export import export_run
        export_run(args.save_dir, args.export)


def build(args):
    """(network, its name) of the flags."""
    import mxnet  # noqa: F401  (while the data are read)

    from openatac.training import cifar_network
    return cifar_network.build_network(args), cifar_network.model_name(args)


if __name__ == '__main__':
    run(main)
