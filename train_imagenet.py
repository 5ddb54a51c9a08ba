#!/usr/bin/env python3
"""Train ResNet-50 with ATAC on ImageNet, by the recipe of "Attention as Activation".

The published command, for two GPUs (--recipe imagenet_atac is the same):

    python train_imagenet.py --mode hybrid --lr 0.075 --lr-mode cosine --num-epochs 160 \\
        --batch-size 128 --num-gpus 2 -j 48 --warmup-epochs 5 --dtype float16 --use-rec --last-gamma \\
        --no-wd --label-smoothing --save-dir params_resnet50_v1b_ChaATAC_2 \\
        --logging-file resnet50_v1b_ChaATAC_2.log --r 2 --act-layers 2

On several machines: python -m openatac launch --help.
"""
import argparse
import os
import shlex
import sys

from openatac.arguments import COUNT, FROM_ZERO, POSITIVE, SEED, number
from openatac.distributed.workers import KVSTORES
from openatac.training import imagenet_flags
from openatac.training.engine_flags import add_engine, check_engine, find_network, require_mxnet
from openatac.training.flags import add_reports, check_rates, parse_with_recipe, run
from openatac.training.recipes import IMAGENET

# What the published script accepted and ignored.
NOTHING_HERE = {
    '--use_se': 'this network has no SE branch, nor had the published one; leave it out',
    '--batch-norm': 'it is for VGG networks, and a ResNet always has BatchNorm; leave it out',
    '--use-pretrained': 'no trained weights are published for download; start from a file by --resume-params',
}


class Refuse(argparse.Action):
    """Ends the program with the sentence in ``const``."""

    def __call__(self, parser, namespace, values, option_string=None):
        parser.error('argument %s: %s' % (option_string, self.const))


def parser():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                allow_abbrev=False)  # --recipe is looked for by its whole name
    add_network(p)
    imagenet_flags.add_data(p)
    add_devices(p)
    add_engine(p)
    add_training(p)
    add_output(p)
    add_start(p)
    return p


def add_network(p):
    network = imagenet_flags.add_network(p, r=4)  # as published; the published command says 2
    network.add_argument('--last-gamma', action='store_true',
                         help="start the scale of each block's last BatchNorm at zero")
    network.add_argument('--syncbn', action='store_true',
                         help="the host's BatchNorm over all GPUs of a machine")
    network.add_argument('--summary', action='store_true', help='print the layers and stop')
    for flag, meaning in NOTHING_HERE.items():
        network.add_argument(flag, nargs=0, help=argparse.SUPPRESS, action=Refuse, const=meaning)


def add_devices(p):
    devices = imagenet_flags.add_devices(p)
    devices.add_argument('--kvstore', default='device', choices=KVSTORES,
                         help='where gradients meet; dist_... for the workers of `openatac launch` '
                         '(default: %(default)s)')
    devices.add_argument('--loss-scale', type=POSITIVE,
                         help='factor on the loss of float16 to begin with; it adapts (default: 1024)')


def add_training(p):
    share, epochs = number(float, low=0, below=1), number(int, low=0, high=COUNT)
    g = p.add_argument_group('training')
    g.add_argument('--recipe', help='take the settings of a recipe: imagenet_atac')
    g.add_argument('--num-epochs', type=number(int, low=1, high=COUNT), default=3)
    g.add_argument('--lr', type=POSITIVE, default=0.1)
    g.add_argument('--momentum', type=share, default=0.9)
    g.add_argument('--wd', type=FROM_ZERO, default=1e-4)
    g.add_argument('--no-wd', action='store_true', help='no weight decay for biases, gammas and betas')
    g.add_argument('--lr-mode', choices=('step', 'poly', 'cosine'), default='step')
    g.add_argument('--lr-decay', type=POSITIVE, default=0.1)
    g.add_argument('--lr-decay-period', type=epochs, default=0,
                   help='decay every so many epochs instead of at --lr-decay-epoch')
    g.add_argument('--lr-decay-epoch', default='40,60', help='epochs at whose start the rate decays')
    g.add_argument('--warmup-lr', type=FROM_ZERO, default=0.0, help='the rate at the start')
    g.add_argument('--warmup-epochs', type=epochs, default=0)
    g.add_argument('--label-smoothing', action='store_true', help='spread 0.1 of each label over all classes')
    g.add_argument('--mixup', action='store_true', help='mix each batch with itself reversed')
    g.add_argument('--mixup-alpha', type=POSITIVE, default=0.2)
    g.add_argument('--mixup-off-epoch', type=epochs, default=0, help='no mixup in the last so many epochs')
    g.add_argument('--teacher', help="a network of GluonCV's zoo, or ours, to distil from")
    g.add_argument('--teacher-params', metavar='FILE.params', help="its parameters (default: GluonCV's own)")
    g.add_argument('--temperature', type=POSITIVE, default=20.0)
    g.add_argument('--hard-weight', type=number(float, low=0, high=1), default=0.5,
                   help="the labels' share of the loss beside the teacher's")
    g.add_argument('--seed', type=number(int, low=0, high=SEED), default=0)


def add_output(p):
    g = p.add_argument_group('output')
    g.add_argument('--save-dir', default='params', help='folder of this run (default: %(default)s)')
    g.add_argument('--save-frequency', type=number(int, low=0, high=COUNT), default=10,
                   help='keep parameters and optimizer states every so many epochs')
    g.add_argument('--save-plot-dir', help='folder of the history picture (default: --save-dir)')
    g.add_argument('--logging-file', default='train_imagenet.log')
    g.add_argument('--log-interval', type=number(int, low=0, high=COUNT), default=50,
                   help='batches between two looks at the metrics, 0 for none')
    add_reports(g)


def add_start(p):
    g = p.add_argument_group('start')
    g.add_argument('--resume', choices=('auto', 'never'), default='never',
                   help='auto: go on from the newest checkpoint in --save-dir, if there is one')
    g.add_argument('--resume-epoch', type=number(int, low=0, high=COUNT), default=0,
                   help='begin at this epoch, with --resume-params and --resume-states')
    g.add_argument('--resume-params', metavar='FILE.params', help='start from these parameters')
    g.add_argument('--resume-states', metavar='FILE.states', help='and these states of the optimizer')
    g.add_argument('--evaluate', metavar='FILE.params', help='only test these parameters')
    g.add_argument('--dry-run', type=number(int, low=1, high=COUNT), metavar='N',
                   help='do N batches of each part, print what they take, leave only the log')


def check(args):
    """Raise ValueError, in a sentence, for flags that do not go together."""
    for flag in ('warmup_epochs', 'mixup_off_epoch', 'resume_epoch'):
        most = args.num_epochs - (flag == 'resume_epoch')
        if getattr(args, flag) > most:
            raise ValueError('argument --%s: %d is more than the %d that --num-epochs %d allows' % (
                flag.replace('_', '-'), getattr(args, flag), most, args.num_epochs))
    if args.teacher_params and not args.teacher:
        raise ValueError('argument --teacher-params: --teacher must name the network that they are of')
    if args.loss_scale and args.dtype == 'float32':
        raise ValueError('argument --loss-scale: it is for --dtype float16; leave it out')
    if args.dtype == 'float16' and args.kvstore == 'dist_async':
        raise ValueError('argument --kvstore: dist_async has no loss scale for float16; use dist_sync')


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    p = parser()
    args = parse_with_recipe(p, IMAGENET, argv)
    from openatac.training.schedule import decay_epochs
    try:
        decays = decay_epochs(args.lr_decay_epoch, args.lr_decay_period, args.num_epochs)
        if args.lr_mode == 'step':
            check_rates(args.lr, args.lr_decay, sum(epoch < args.num_epochs for epoch in decays))
        check(args)
        check_engine(args, args.num_gpus)
    except ValueError as error:
        p.error(str(error))
    from openatac.training.tracking import log_to
    log_to()
    require_mxnet(args)
    from openatac.distributed import workers
    command = shlex.join([os.path.basename(__file__)] + argv)
    only_network = args.summary or args.write_initial
    cluster = workers.start('device' if only_network or args.evaluate else args.kvstore)
    try:
        net, name = find_network(args, p, IMAGENET, argv, build)
    except ValueError as error:
        p.error(str(error))
    if only_network:
        from openatac.training import imagenet_network
        return imagenet_network.print_or_write(net, name, args)
    from openatac.training import imagenet
    if args.evaluate:
        return imagenet.evaluate(net, args, command)
    imagenet.train(net, name, args, decays, cluster, command)
    cluster.close()
    if args.export and not args.dry_run and cluster.rank == 0:
        from openatac.export.export import export_run
        export_run(args.save_dir, args.export)


def build(args):
    """(network, its name) of the flags."""
    from openatac.training import imagenet_network
    return imagenet_network.build_network(args), imagenet_network.model_name(args)


if __name__ == '__main__':
    run(main)
