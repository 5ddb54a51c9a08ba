"""Load the network of a run or a parameter file.

`trained_network` loads it for an export, with its manifest and its images. `inference_network` loads it for
inference, for ``predict`` and ``openatac.load``. `run_manifest` builds the manifest of a run.
"""
