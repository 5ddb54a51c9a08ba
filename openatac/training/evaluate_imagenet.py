"""The validation errors of trained parameters, published ones or one's own.

    openatac evaluate-imagenet FILE.params --use-rec --rec-val val.rec

The file must hold exactly the network's parameters, under the names that the authors' files have
(``layer3.0.relu1.module.0.weight``, ...), in float32 or float16.
"""
import argparse
import shlex

from openatac.training import imagenet_flags


def main(argv):
    """``openatac evaluate-imagenet``; see the module."""
    p = argparse.ArgumentParser(prog='openatac evaluate-imagenet', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('evaluate', metavar='FILE.params')
    imagenet_flags.add_network(p, r=2)  # that of the published network
    imagenet_flags.add_data(p)
    imagenet_flags.add_devices(p)
    p.set_defaults(engine='mxnet', seed=0)
    args = p.parse_args(argv)
    from openatac.training.tracking import log_to
    log_to()
    from openatac.training import imagenet, imagenet_network
    try:
        net = imagenet_network.build_network(args)
    except ValueError as error:
        p.error(str(error))
    imagenet.evaluate(net, args, shlex.join(p.prog.split() + argv))
    return 0
