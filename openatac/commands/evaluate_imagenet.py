"""Compute the validation errors of trained parameters, published ones or your own.

The file must hold exactly the network's parameters, for example under the names in the authors' files
(``layer3.0.relu1.module.0.weight``, ...), in float32 or float16. If a run's settings.json or an export's
manifest is in the same folder, options that you do not give come from it.
"""
from __future__ import annotations

import dataclasses
import shlex

from openatac.backends.compute import Compute
from openatac.backends.process_group import SingleProcess
from openatac.commands.shared.catalogue import command_parser
from openatac.commands.train_imagenet import TrainImagenet
from openatac.options.command_line import add_section, from_arguments, show_defaults
from openatac.options.declaration import Role, section_fields, with_changes
from openatac.training.config import ImagenetConfig
from openatac.training.option_rules import check_options
from openatac.training.recipes import IMAGENET
from openatac.training.sections.imagenet import (
    ImagenetData,
    ImagenetNetwork,
    ImagenetOutput,
    ImagenetTraining,
)

_PUBLISHED = {'r': IMAGENET['imagenet_atac']['r']}  # the published script's default differs


def main(argv: list[str]) -> int:
    """Run ``openatac evaluate-imagenet``; see the module."""
    p = command_parser('evaluate-imagenet', __doc__)
    p.add_argument('evaluate', metavar='FILE', help='a parameter file, or the folder of a run')
    add_section(p, ImagenetNetwork, [name for name, field in section_fields(ImagenetNetwork).items()
                                     if field.has(Role.NETWORK) and name != 'last_gamma'])
    add_section(p, ImagenetData)
    add_section(p, ImagenetTraining, ['batch_size', 'num_gpus'])
    add_section(p, Compute, ['engine', 'dtype', 'mode'])
    add_section(p, ImagenetOutput, ['report', 'predictions'])
    show_defaults(p, ImagenetConfig, _PUBLISHED)
    flags = from_arguments(ImagenetConfig, p.parse_args(argv), {}, '')
    if not flags.is_given('r'):  # the paper's is only a default: settings beside the file take precedence
        flags = dataclasses.replace(flags, config=with_changes(flags.config, **_PUBLISHED))
    from openatac.console.log import log_to
    log_to()
    script = TrainImagenet()
    check_options(flags.config)
    built = script.build_network(flags)
    command = shlex.join([*p.prog.split(), *argv])
    left_out = script.make_run(built, command, SingleProcess()).evaluate()
    return 1 if left_out else 0
