"""The steps shared by train-cifar and train-imagenet, from the command line to the end of the run."""
from __future__ import annotations

import abc
import argparse
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from openatac.backends.process_group import ProcessGroup
from openatac.commands.shared import training_flags, training_processes
from openatac.console import program
from openatac.distributed.member_group import end_run
from openatac.options.command_line import ParsedFlags, describe
from openatac.training.config import AnyConfig, Config
from openatac.training.networks import network_from_flags
from openatac.training.option_rules import check_options

if TYPE_CHECKING:
    from openatac.training.networks.build import BuiltNetwork
    from openatac.training.runs.run import Run


class TrainingScript(abc.ABC, Generic[AnyConfig]):
    """A command, also run as a script, that trains, evaluates or only builds a network.

    The docstring of a subclass's module is the description in the help.

    Attributes
    ----------
    name : str
        The command's name.
    config_type : type
    recipes : dict
        {name: {option: value}}.
    """

    name: ClassVar[str]
    config_type: type[AnyConfig]
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]]

    def __init__(self, prog: str | None = None) -> None:
        self.prog = prog or f'openatac {self.name}'

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser of the command's flags."""
        description = sys.modules[type(self).__module__].__doc__
        return training_flags.parser_of(self.config_type, self.name, description, self.prog)

    @abc.abstractmethod
    def with_classes(self, flags: ParsedFlags[AnyConfig]) -> ParsedFlags[AnyConfig]:
        """Return the config with the classes of the images."""

    def begin_reading(self, config: AnyConfig) -> None:
        """Begin to read the images, in the background; by default, the run opens them when it needs them."""

    @abc.abstractmethod
    def make_run(self, built: BuiltNetwork[AnyConfig], command: str, process_group: ProcessGroup
                 ) -> Run[AnyConfig, Any]:
        """Return the run, which trains or evaluates the network."""

    def build_network(self, flags: ParsedFlags[AnyConfig]) -> BuiltNetwork[AnyConfig]:
        """Fill in the config, from files beside its parameters, then from the images; build its network.

        Reading the images begins before the network is built.
        """
        from openatac.commands.shared.described_network_flags import with_described_network
        flags = self.with_classes(with_described_network(flags))
        config = flags.config
        # With --initial, the data set is only known once the network is.
        if not (network_from_flags.only_makes_network(config) or config.start.initial):
            self.begin_reading(config)
        return network_from_flags.network_from_flags(flags)

    def main(self, argv: list[str]) -> int | None:
        """Run the command; return its exit code, None for success."""
        flags = self._parse(argv)
        code = training_processes.train_in_processes(flags.config, self.prog)
        if code is not None:
            return code
        process_group = training_processes.join_process_group(flags.config)
        built = self.build_network(flags)
        config = built.config
        if network_from_flags.only_makes_network(config):
            network_from_flags.print_or_write_network(built)
            return None
        run = self.make_run(built, shlex.join([*self.prog.split(), *argv]), process_group)
        if config.start.evaluate:
            left_out = run.evaluate()
            return 1 if left_out else 0
        run.train()
        process_group.close()
        if process_group.is_writer:
            _export_if_asked(config)
        return None

    def _parse(self, argv: list[str]) -> ParsedFlags[AnyConfig]:
        """Parse and check a command line, start the log, and return the config.

        With --print-config, print the config and end the process.
        """
        from openatac.console.log import log_to
        parser = self.parser()
        flags = training_flags.parse(parser, self.config_type, self.recipes, argv)
        if flags.config.start.print_config:
            for line in describe(flags):
                print(line)
            parser.exit()
        check_options(flags.config)
        if flags.config.output.export:
            from openatac.export.forms.base import check_export_name
            check_export_name(flags.config.output.export)
        log_to()
        network_from_flags.check_libraries(flags.config)  # before anything is downloaded
        return flags


def _export_if_asked(config: Config) -> None:
    """Export the best network of a finished run if --export asks for it."""
    if config.output.export and not config.start.dry_run:
        from openatac.export.exporter import export_run
        export_run(config.output.save_dir, config.output.export)


def run_and_exit(main: Callable[[list[str]], int | None]) -> None:
    """Run a script's ``main``, then end this process and its process group; a failure prints one line."""
    sys.exit(program.run_command(lambda: main(sys.argv[1:]), end_run))
