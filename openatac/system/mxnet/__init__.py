"""Make MXNet 1.9.1 work with today's Python, NumPy and machines.

MXNet was retired in 2023. Importing this package (as ``import openatac`` does) does not load MXNet. It
installs an import hook. Any later ``import mxnet``, ours or the user's,

* finds the names that NumPy has dropped since 1.20, without adding them to NumPy (`old_numpy`);
* runs one thread per physical core available to this process (`openatac.system.threads`), with settings
  that make it fast and correct on CPUs (`settings`, `openatac.system.memory`);
* finds the system libraries (`system_libraries`) and the CUDA 11 libraries (`cuda_libraries`) from pip
  packages.

If MXNet is missing or cannot load, the import fails with a message that explains what to install.
"""
from openatac.system.mxnet import import_hook

import_hook.install()
