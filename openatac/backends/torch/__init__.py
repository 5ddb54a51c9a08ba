"""PyTorch as a backend: the same graphs, steps and checkpoints, even without MXNet."""
from openatac.system.libraries import require_torch

require_torch()
