"""The flags that everything about ImageNet shares: the network, and where the photographs are."""
import os

from openatac.arguments import BATCH, CLASSES, CROP_RATIO, RATIO, SIDE, number

DATA = os.path.join('~', '.mxnet', 'datasets', 'imagenet')


def add_network(p, r):
    """--r (default: ``r``), --act-type, --attention, --act-layers, --num-classes, --use-gn and others."""
    group = p.add_argument_group('network')
    group.add_argument('--act-type', default='ChaATAC',
                       help='relu, prelu, elu, selu, gelu, swish, mish, frelu, sine, xunit or ChaATAC '
                       '(default: %(default)s)')
    group.add_argument('--attention',
                       help="what ends each bottleneck's main path, such as se (default: none)")
    group.add_argument('--reduction', type=RATIO, default=16,
                       help='channel reduction ratio of --attention (default: %(default)s)')
    group.add_argument('--self-attention', choices=('aa', 'fa'),
                       help="in the 3x3 convolutions' place: aa, attention-augmented ones, or fa, "
                       'stand-alone self-attention, which needs --last-gamma to start well')
    group.add_argument('--r', type=RATIO, default=r,
                       help='channel reduction ratio of ChaATAC (default: %(default)s)')
    group.add_argument('--act-layers', type=number(int, low=0, high=4), default=2,
                       help='how many of the four stages, from the back, get it (default: %(default)s)')
    group.add_argument('--num-classes', type=number(int, low=2, high=CLASSES), default=1000)
    group.add_argument('--use-gn', action='store_true', help="GroupNorm in the host's place of BatchNorm")
    return group


def add_data(p):
    """--data-dir, --rec-..., --input-size, --crop-ratio, -j, --max-bad-share."""
    group = p.add_argument_group('data')
    group.add_argument('--data-dir', default=DATA,
                       help='folder with train/ and val/, a folder of photographs for each class in both '
                       '(default: %(default)s)')
    group.add_argument('--use-rec', action='store_true', help='read record files instead of folders')
    for split in ('train', 'val'):
        group.add_argument('--rec-' + split, default=os.path.join(DATA, 'rec', split + '.rec'))
        group.add_argument('--rec-%s-idx' % split, default=None,
                           help='(default: the .idx beside it, or none)')
    group.add_argument('--input-size', type=number(int, low=32, high=SIDE), default=224)
    group.add_argument('--crop-ratio', type=number(float, low=CROP_RATIO, high=1, also=[0]), default=0.875,
                       help='of the centre that is tested on; 0 means the default, %(default)s')
    group.add_argument('-j', '--num-data-workers', '--num_workers', dest='num_workers',
                       type=number(int, low=0, high=1024), default=4,
                       help='processes that read photographs, as many again for validation; 0 for none '
                       '(default: %(default)s)')
    group.add_argument('--max-bad-share', type=number(float, low=0, below=1), default=0.01,
                       help='the share of photographs that may be damaged; they are named and left out '
                       '(default: %(default)s)')
    return group


def add_devices(p):
    """--batch-size, --num-gpus, --dtype, --mode."""
    group = p.add_argument_group('devices')
    group.add_argument('--batch-size', type=number(int, low=1, high=BATCH), default=32,
                       help='images per device')
    group.add_argument('--num-gpus', type=number(int, low=0, high=64), default=0,
                       help='how many GPUs to use, from GPU 0 on (default: 0, the CPU)')
    group.add_argument('--dtype', choices=('float32', 'float16', 'bfloat16'), default='float32')
    group.add_argument('--mode', choices=('hybrid', 'imperative'), default='hybrid')
    return group
