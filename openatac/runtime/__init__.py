"""Makes MXNet 1.9.1 work on today's Python, NumPy and machines.

MXNet was retired in 2023. Importing this package (``import openatac`` does) does not load MXNet. It
installs an import hook, so that any later ``import mxnet``, ours or the user's own,

* finds the names that NumPy has dropped since 1.20, without adding them to NumPy (`old_numpy`);
* runs one thread per physical core available to this process (`threads`, `cores`), with settings that
  make it fast and correct on CPUs (`mxnet_settings`, `memory`);
* finds the system libraries (`system_libraries`) and the CUDA 11 libraries (`cuda_libraries`) that pip
  packages bring.

If MXNet is missing or cannot load, the import fails with a message that says what to install.
"""
from openatac.runtime import import_hook

import_hook.install()
