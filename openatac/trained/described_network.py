"""What the files beside a parameter file say of its network: the manifest of its export, settings of its run.

Of both, the manifest takes precedence, and the run adds what a manifest lacks.
"""
from __future__ import annotations

import inspect
import logging
import os
from typing import Any

from openatac.errors import OpenatacError
from openatac.files.export_file_names import MANIFEST_SUFFIX, PARAMS_SUFFIX
from openatac.files.mxnet_arrays import missing_file
from openatac.files.run_file_names import SETTINGS, holds_run
from openatac.image_size import size_of
from openatac.options.declaration import from_json, option_defaults, option_fields, option_values, options_in
from openatac.trained.manifest import Manifest, read_manifest
from openatac.training.config import AnyConfig, CifarConfig, Config, ImagenetConfig
from openatac.training.networks.named_options import with_named_options
from openatac.training.run_folder import RunFolder
from openatac.zoo.names import parse_network_name

log = logging.getLogger('openatac')


def described_options(path: str, config_type: type[AnyConfig]) -> tuple[str, dict[str, Any]] | None:
    """Return (the file that describes the network of a parameter file, {name: value} of the options in it).

    Returns None if no file does, or the network belongs to the other script. Raises ParameterFileError if
    there is no file ``path``.
    """
    if not os.path.exists(path):
        raise missing_file(path)
    prefix = path.removesuffix(PARAMS_SUFFIX)
    manifest = prefix + MANIFEST_SUFFIX
    if prefix == path or not os.path.exists(manifest):
        return _options_of_run(path, config_type)
    try:
        known = _options_of_manifest(read_manifest(prefix), config_type)
    except (OpenatacError, ValueError) as error:
        log.warning('ignored %s: %s', manifest, error)
        return _options_of_run(path, config_type)
    if known is None:
        return None
    _, run = _options_of_run(path, config_type) or ('', {})
    of_network = options_in(config_type, 'network') - {'model'}
    if run and all(run[name] == value for name, value in known.items() if name in of_network):
        known = {**run, **known}  # an export in its run's folder: the run has the data options too
    return manifest, known


def config_of_run(path: str) -> Config | None:
    """Return the config of the run that a parameter file lies in, with the options that its name determines.

    Returns None if its folder holds no run; settings that do not describe one are ignored with a warning.
    """
    folder = os.path.dirname(path)
    if not holds_run(folder):
        return None
    try:
        return with_named_options(RunFolder(folder).config())
    except (OpenatacError, ValueError) as error:
        log.warning('ignored %s: %s', os.path.join(folder, SETTINGS), error)
        return None


def _options_of_run(path: str, config_type: type[AnyConfig]) -> tuple[str, dict[str, Any]] | None:
    """Return (settings.json, its options) if the parameter file lies in a run with such a config."""
    config = config_of_run(path)
    if type(config) is not config_type:
        return None
    return os.path.join(os.path.dirname(path), SETTINGS), option_values(config)


def _options_of_manifest(manifest: Manifest, config_type: type[AnyConfig]) -> dict[str, Any] | None:
    """Return the options of an exported network; None if it belongs to the other script."""
    host, settings = parse_network_name(manifest.model)
    if (host.data == 'cifar') != (config_type is CifarConfig):
        return None
    # Settings missing from an export have the network's defaults, not the script's.
    known: dict[str, Any] = {
        name: default for name, default in host.arguments.items()
        if name in option_fields(config_type) and default is not inspect.Parameter.empty
        and option_fields(config_type)[name].default is not None}  # None leaves it to the host
    known.update({**settings, **manifest.arguments})
    if config_type is ImagenetConfig:
        known.update(num_classes=manifest.classes, input_size=size_of(*manifest.image_shape[1:]),
                     crop_ratio=manifest.crop_ratio)
    else:
        known['model'] = manifest.model
    config = from_json(config_type, {**option_defaults(config_type), **known})
    return {name: value for name, value in option_values(with_named_options(config)).items()
            if name in options_in(config_type, 'network') or name in known}
