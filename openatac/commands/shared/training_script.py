"""What train-cifar and train-imagenet share: parsing with a recipe, checks of flags, the network, the end.

It is not a command itself.
"""
from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping
from typing import Any, Callable

from openatac.backends.cluster import Cluster
from openatac.backends.compute import BACKENDS
from openatac.commands.catalogue import command_parser
from openatac.console import program
from openatac.distributed.cluster import end_run
from openatac.errors import OpenatacError, ParameterFileError
from openatac.export.forms.base import check_export_name
from openatac.flags import COMMAND_LINE, Given, add_section, describe, flag_of, from_arguments, show_defaults
from openatac.limits import FLOAT32_MAX, FLOAT32_MIN
from openatac.models.weights.pretrained import weights_file
from openatac.options import sections
from openatac.runtime.devices import parse_gpus
from openatac.runtime.libraries import has_mxnet, require_mxnet, require_torch
from openatac.training.config import Config
from openatac.training.sections.shared import Start


def parser_of(config: type, command: str, description: str | None, prog: str) -> argparse.ArgumentParser:
    """Return the parser of all flags of a config, for a command or the script ``prog``."""
    # --recipe is matched by its full name. With the usage of all flags, an error would fill the screen.
    parser = command_parser(command, description, prog=prog, usage='%(prog)s [flags]', allow_abbrev=False)
    for section in sections(config).values():
        add_section(parser, section)
    return parser


def parse(parser: argparse.ArgumentParser, config: type, recipes: Mapping[str, Mapping[str, Any]],
          argv: list[str]) -> Given:
    """Return the `Given` config of a command line; a recipe replaces the defaults, in the help as well."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument('--recipe')
    early.add_argument('--model', default='atac')
    known = early.parse_known_args(argv)[0]
    recipe: dict[str, Any] = {}
    if known.recipe is not None:
        if known.recipe not in recipes:
            parser.error(f'argument --recipe: there is no recipe {known.recipe!r}; choose from '
                         f'{", ".join(recipes)}')
        recipe = dict(recipes[known.recipe])
        if known.model != 'atac':  # a network's name gives its depth and unit
            recipe.update(blocks=None, act_type=None)
    show_defaults(parser, config, recipe)
    return from_arguments(config, parser.parse_args(argv), recipe, str(known.recipe))


def begin(parser: argparse.ArgumentParser, config: type, recipes: Mapping[str, Mapping[str, Any]],
          argv: list[str], check: Callable[[Any], None]) -> Given:
    """Return the `Given` config of a command line, once ``check`` accepts it.

    Starts the log and checks that the engine is installed. For --print-config, ends the process.
    """
    from openatac.training.tracking.log import log_to
    given = parse(parser, config, recipes, argv)
    if given.config.start.print_config:
        for line in describe(given):
            print(line)
        parser.exit()
    try:
        check(given.config)
    except ValueError as error:
        parser.error(str(error))
    log_to()
    _check_libraries_are_there(given.config)  # before anything is downloaded
    return given


# -------------------------------------------------------------------------------------- checks

def check(config: Config) -> None:
    """Raise ValueError, with a sentence, for options that do not go together."""
    training = config.training
    parse_gpus(training.gpus)  # ValueError for what names no GPUs
    decays = sum(epoch < training.num_epochs for epoch in training.decay_epochs)
    if getattr(training, 'lr_mode', 'step') == 'step':
        _check_rates(training.lr, training.lr_decay, decays)
    for flag in ('report', 'predictions'):
        if getattr(config.output, flag) and not config.start.evaluate:
            raise ValueError(f'argument --{flag}: it is about the parameters that --evaluate names; add them')
    if config.start.initial and (config.network.summary or config.start.write_initial):
        raise ValueError('argument --initial: --summary and --write-initial use the network of the flags; '
                         'leave it out')
    if config.output.export:
        check_export_name(config.output.export)
    if config.start.pretrained:
        _check_pretrained(config.start.pretrained, config.start)
    BACKENDS.find(config.compute.engine).check(config)


def _check_pretrained(name: str, start: Start) -> None:
    for other in ('evaluate', 'resume_from', 'resume_params'):
        if getattr(start, other, None):
            raise ValueError(f'argument --pretrained: {flag_of(other)} names the parameters too; leave out '
                             'one of the two')
    try:
        weights_file(name)
    except ParameterFileError as error:
        raise ValueError(f'argument --pretrained: {error}') from None


def _check_rates(lr: float, factor: float, decays: int) -> None:
    last = math.log10(lr) + decays * math.log10(factor)
    if not math.log10(FLOAT32_MIN) < last < math.log10(FLOAT32_MAX):
        raise ValueError(f'argument --lr-decay: {decays} times {factor:g} takes --lr {lr:g} beyond the range '
                         'of float32; decay less often, or by a factor nearer to 1')


# ----------------------------------------------------------------------------------- processes

def train_in_processes(config: Config) -> int | None:
    """Train with PyTorch in a process for each GPU of the config, if these are several; return the exit code.

    Returns None if there is nothing to start: this process, perhaps one of those, is to train itself.
    """
    gpus = parse_gpus(config.training.gpus)
    if config.compute.engine != 'torch' or len(gpus) < 2 or _needs_one_process(config):
        return None
    import torch

    from openatac.distributed import torchrun
    from openatac.distributed.launch import run
    if torchrun.is_part() or torch.cuda.device_count() <= max(gpus):  # a missing one is reported later
        return None
    if not hasattr(os, 'fork'):
        raise OpenatacError('this system does not let a training start others: start one for each GPU by '
                            f'torchrun --nproc-per-node {len(gpus)}')
    return run(lambda group: torchrun.start_here(group, torchrun.own_command(), len(gpus)))


def join_cluster(parser: argparse.ArgumentParser, config: Config) -> Cluster:
    """Join the processes that train together, of which this is one; it may be the only one."""
    from openatac.distributed import kvstore, torchrun
    alone = _needs_one_process(config)
    if config.compute.engine != 'torch':
        if torchrun.is_part() and 'TORCHELASTIC_RUN_ID' in os.environ:
            parser.error('argument --engine: torchrun is for torch; start several processes of '
                         f'{config.compute.engine} by `openatac launch`')
        return kvstore.join_run('device' if alone else getattr(config.training, 'kvstore', 'device'))
    if alone and torchrun.is_part():
        parser.error('this command takes one process; start it without torchrun')
    if config.compute.syncbn and not (alone or torchrun.is_part()):
        parser.error('argument --syncbn: it is for two or more processes, and this is one; leave it out')
    return torchrun.join_run()


def _needs_one_process(config: Config) -> bool:
    return bool(only_makes_network(config) or config.start.evaluate)


# ------------------------------------------------------------------------------------- network

def only_makes_network(config: Config) -> bool:
    """Return whether the command only prints or writes the network."""
    return bool(config.network.summary or config.start.write_initial)


def _check_libraries_are_there(config: Config) -> None:
    """Raise ModuleNotFoundError, in a sentence, if the config needs MXNet or PyTorch and it is missing."""
    if config.compute.engine != 'torch':
        require_mxnet()
    for flag, value in (('--export', config.output.export), ('--write-initial', config.start.write_initial)):
        if value and not has_mxnet():
            raise ModuleNotFoundError(f'{flag} writes files of MXNet, which is not installed here: leave it '
                                      'out', name='mxnet')
    if not config.start.initial and _builds_in_torch(config):  # the errors of --initial come first
        require_torch()


def _builds_in_torch(config: Config) -> bool:
    """Return whether PyTorch is to build the network; MXNet, if it is there, prints and writes it."""
    return config.compute.engine == 'torch' and not (only_makes_network(config) and has_mxnet())


def make_network(parser: argparse.ArgumentParser, given: Given) -> tuple[Any, str, Config] | None:
    """Return `find_network` of a command; None if it only asked to print or write the network: it is done."""
    try:
        net, name, config = find_network(given)
    except ValueError as error:
        parser.error(str(error))
    if not only_makes_network(config):
        return net, name, config
    print_or_write_network(net, name, config)
    return None


def close_cluster(cluster: Cluster, config: Config) -> None:
    """Leave the other processes, and write the export that the config asks for."""
    cluster.close()
    if cluster.rank == 0:
        export_if_asked(config)


def with_described_network(parser: argparse.ArgumentParser, given: Given) -> Given:
    """Complete the config by the network of --evaluate or --pretrained, if a file beside it describes it."""
    start = given.config.start
    if start.initial or not (start.evaluate or start.pretrained):
        return given
    from openatac.export.networks.described_network import for_evaluation, for_fine_tuning
    try:
        if start.evaluate:
            return for_evaluation(given, weights_file(start.evaluate))
        return for_fine_tuning(given, weights_file(start.pretrained))
    except ValueError as error:
        parser.error(str(error))


def find_network(given: Given) -> tuple[Any, str, Any]:
    """Return (network, its name, the completed config), from the options or the files of --initial.

    The network is what `openatac.backends.base.open_backend` takes. Raises ValueError for options that do not
    make a network or contradict the files, OpenatacError if the files cannot be read, and ModuleNotFoundError
    if the network needs PyTorch, which is missing.
    """
    config: Config = given.config
    if config.start.initial:
        from openatac.training.initial_network import read_initial_network
        found = read_initial_network(config.start.initial, given)
        if _builds_in_torch(config):
            require_torch()
        return found
    from openatac.training.network import (
        build_network,
        ignored_options,
        is_for_pytorch,
        resolve,
        set_up_fine_tuning,
    )
    config = resolve(config)
    # With MXNet, a unit that is not registered for PyTorch is converted.
    in_torch = _builds_in_torch(config) and (is_for_pytorch(config) or not has_mxnet())
    net, name = build_network(config, in_torch)
    set_up_fine_tuning(net, config)
    for option in ignored_options(config):
        if given.origins[option] == COMMAND_LINE:
            raise ValueError(f'argument {flag_of(option)}: the host of {name} has no such '
                             'setting; leave it out')
    return net, name, config


def print_or_write_network(net: Any, name: str, config: Config) -> None:
    """Do what --summary or --write-initial asks for."""
    from openatac.training.initial_network import write_initial_network
    from openatac.training.network import image_shape, print_layers
    if config.start.write_initial:
        write_initial_network(net, config, name, image_shape(config))
    else:
        print_layers(net, image_shape(config))


def export_if_asked(config: Config) -> None:
    """Export the best network of a finished run if --export asks for it."""
    if config.output.export and not config.start.dry_run:
        from openatac.export.exporter import export_run
        export_run(config.output.save_dir, config.output.export)


# ----------------------------------------------------------------------------------------- end

def run_and_exit(main: Callable[[list[str]], None]) -> None:
    """Run a script's ``main``, and end this process and those of its cluster; a failure prints one line."""
    sys.exit(program.run_command(lambda: main(sys.argv[1:]), end_run))
