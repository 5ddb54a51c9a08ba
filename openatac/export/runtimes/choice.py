"""Choose the runtime for an export where the user does not.

The commands run a PREFIX in the same runtime on every machine that has it; `openatac.load` takes the fastest.
"""
from __future__ import annotations

from openatac.errors import DeviceError, OpenatacError
from openatac.export.forms.base import form_of, prefix_of
from openatac.export.runtimes.base import CPU, RUNTIMES, runtimes_of
from openatac.trained.manifest import read_manifest

# Fastest first, from results/inference for batches of 1 and 64 images.
FASTEST = 'onnxruntime', 'fused', 'static', 'torch-channels-last', 'torch'


def runtime_for(path: str) -> str:
    """Return the name of the default runtime for a file; for a PREFIX, 'static' or the first usable one."""
    form = form_of(path)
    if form is not None:
        return form.runtime
    able = runtimes_of(prefix_of(path))
    return 'static' if 'static' in able or not able else able[0]


def fastest_runtime(path: str, device: str = CPU) -> str:
    """Return the name of the fastest runtime for a PREFIX (any float32 form), or for the form of a file.

    Raises
    ------
    OpenatacError
        If no installed runtime can run it on the device.
    """
    prefix, form = prefix_of(path), form_of(path)
    read_manifest(prefix)  # raises if there is no such export
    suited = [runtime for runtime in RUNTIMES.values()
              if (not runtime.form.is_quantized if form is None else runtime.form.name == form.name)]
    obstacles = {runtime.name: runtime.obstacle(prefix) for runtime in suited}
    able = [runtime.name for runtime in suited if not obstacles[runtime.name] and runtime.has_device(device)]
    if not able and all(obstacles.values()):
        here = [runtime.name for runtime in suited if not runtime.form.missing(prefix)] or list(obstacles)
        raise OpenatacError(f'{path} cannot be run by the engine {here[0]}, since {obstacles[here[0]]}')
    if not able:
        raise DeviceError(f'no engine that can run {path} has the device {device!r} here: choose {CPU!r}')
    return min(able, key=lambda name: FASTEST.index(name) if name in FASTEST else len(FASTEST))
