"""PyTorch as a backend: the same graphs, steps and checkpoints, even without MXNet."""
from openatac.system.installed import require_torch

require_torch()
