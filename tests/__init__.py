"""The tests, which all run with one thread: parts of a run in other processes then give the same bits."""
import os

os.environ['OMP_NUM_THREADS'] = '1'  # before MXNet and PyTorch are loaded
