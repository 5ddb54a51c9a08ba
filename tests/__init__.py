"""All tests use one thread, so that a run gives the same bits in whichever process it computes."""
import os

os.environ['OMP_NUM_THREADS'] = '1'  # set before MXNet and PyTorch are loaded
