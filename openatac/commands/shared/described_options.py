"""Read the options of a parameter file's network from the settings.json or the manifest beside it."""
from __future__ import annotations

import contextlib
import inspect
import os
from typing import Any

from openatac.errors import OpenatacError
from openatac.export.manifest import Manifest, read_manifest
from openatac.files.export_file_names import MANIFEST_SUFFIX, PARAMS_SUFFIX
from openatac.files.run_file_names import SETTINGS
from openatac.image_size import size_of
from openatac.options.declaration import from_json, option_defaults, option_fields, option_values
from openatac.training.config import AnyConfig, CifarConfig, ImagenetConfig
from openatac.training.networks.named_options import with_named_options
from openatac.training.run_folder import RunFolder
from openatac.zoo.names import find_model
from openatac.zoo.weights.mxnet_format import missing_file


def described_options(path: str, config_type: type[AnyConfig]) -> tuple[str, dict[str, Any]] | None:
    """Return (the file that describes the network of ``path``, {name: value} of the options in it)."""
    if not os.path.exists(path):
        raise missing_file(path)
    with contextlib.suppress(OpenatacError, ValueError):  # the file then describes something else
        if path.endswith(PARAMS_SUFFIX):
            prefix = path[:-len(PARAMS_SUFFIX)]
            known = _options_of_manifest(read_manifest(prefix), config_type)
            if known is None:
                return None
            _, run = _options_of_run(os.path.dirname(path), config_type) or ('', {})
            if run and all(run[name] == value for name, value in known.items()
                           if name != 'model' and option_fields(config_type)[name].section == 'network'):
                known = {**run, **known}  # an export in its run's folder: the run has the data options too
            return prefix + MANIFEST_SUFFIX, known
    return _options_of_run(os.path.dirname(path), config_type)


def _options_of_run(folder: str, config_type: type[AnyConfig]) -> tuple[str, dict[str, Any]] | None:
    """Return (settings.json, its options) if the folder contains a run with such a config."""
    with contextlib.suppress(OpenatacError, ValueError):
        run = RunFolder(folder)
        config = run.config()
        if type(config) is config_type:
            return run.file(SETTINGS), option_values(with_named_options(config))
    return None


def _options_of_manifest(manifest: Manifest, config_type: type[AnyConfig]) -> dict[str, Any] | None:
    """Return the options of an exported network; None if it belongs to the other script."""
    host, settings = find_model(manifest.model)
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
            if option_fields(config_type)[name].section == 'network' or name in known}
