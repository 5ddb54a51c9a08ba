"""Convert networks of MXNet to PyTorch."""
from openatac.system.installed import require_torch

require_torch()
