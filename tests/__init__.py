"""The tests all use one thread, so that parts of a run in other processes give the same bits."""
import os

os.environ['OMP_NUM_THREADS'] = '1'  # set before MXNet and PyTorch are loaded
