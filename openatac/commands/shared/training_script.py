"""The steps shared by train-cifar and train-imagenet, from the command line to the end of the run."""
from __future__ import annotations

import abc
import argparse
import shlex
import sys
from collections.abc import Mapping
from typing import Any, Callable, ClassVar, Generic, TypeVar

from openatac.backends.cluster import Cluster
from openatac.commands.shared import training_flags, training_network, training_processes
from openatac.console import program
from openatac.distributed.cluster import end_run
from openatac.options.command_line import ParsedFlags, describe
from openatac.training.config import Config

AnyConfig = TypeVar('AnyConfig', bound=Config)


class TrainingScript(abc.ABC, Generic[AnyConfig]):
    """A command, also run as a script, that trains, evaluates or only builds a network.

    The docstring of a subclass's module is the description in the help.

    Attributes
    ----------
    name : str
        The command's name.
    config : type
    recipes : dict
        {name: {option: value}}.
    """

    name: ClassVar[str]
    config: ClassVar[type]
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]]

    def __init__(self, prog: str | None = None) -> None:
        self.prog = prog or f'openatac {self.name}'

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser of the command's flags."""
        description = sys.modules[type(self).__module__].__doc__
        return training_flags.parser_of(self.config, self.name, description, self.prog)

    def check(self, config: AnyConfig) -> None:
        """Raise ValueError, with a one-sentence message, for options that cannot be combined."""
        training_flags.check(config)

    @abc.abstractmethod
    def complete(self, given: ParsedFlags) -> ParsedFlags:
        """Complete the config with what is known about the images; a subclass can begin to read them here."""

    @abc.abstractmethod
    def evaluate(self, net: Any, config: AnyConfig, command: str) -> int:
        """Evaluate the parameters that the config names; return how many images were left out."""

    @abc.abstractmethod
    def train(self, net: Any, name: str, config: AnyConfig, cluster: Cluster, command: str) -> None:
        """Train the network called ``name``."""

    def main(self, argv: list[str]) -> int | None:
        """Run the command; return its exit code, None for success."""
        parser = self.parser()
        given = self._given(parser, argv)
        code = training_processes.train_in_processes(given.config, self.prog)
        if code is not None:
            return code
        cluster = training_processes.join_cluster(parser, given.config)
        try:
            given = self.complete(training_network.with_described_network(given))
            net, name, config = training_network.find_network(given)
        except ValueError as error:
            parser.error(str(error))
        command = shlex.join([*self.prog.split(), *argv])
        if training_network.only_makes_network(config):
            training_network.print_or_write_network(net, name, config)
        elif config.start.evaluate:
            return 1 if self.evaluate(net, config, command) else 0
        else:
            self.train(net, name, config, cluster, command)
            cluster.close()
            if cluster.rank == 0:
                _export_if_asked(config)
        return None

    def _given(self, parser: argparse.ArgumentParser, argv: list[str]) -> ParsedFlags:
        """Parse and check a command line, start the log, and return the config.

        With --print-config, print the config and end the process.
        """
        from openatac.console.log import log_to
        given = training_flags.parse(parser, self.config, self.recipes, argv)
        if given.config.start.print_config:
            for line in describe(given):
                print(line)
            parser.exit()
        try:
            self.check(given.config)
        except ValueError as error:
            parser.error(str(error))
        log_to()
        training_network.check_libraries(given.config)  # before anything is downloaded
        return given


def _export_if_asked(config: Config) -> None:
    """Export the best network of a finished run if --export asks for it."""
    if config.output.export and not config.start.dry_run:
        from openatac.export.exporter import export_run
        export_run(config.output.save_dir, config.output.export)


def run_and_exit(main: Callable[[list[str]], int | None]) -> None:
    """Run a script's ``main``, then end this process and its cluster; a failure prints one line."""
    sys.exit(program.run_command(lambda: main(sys.argv[1:]), end_run))
