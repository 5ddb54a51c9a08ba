"""Identify and load the network of a run or a parameter file.

`trained_network` loads it for an export, with its manifest and its images. `run_network` loads it for
inference, for ``predict`` and ``openatac.load``. `described_network` completes a script's config from files
beside the given parameters. `run_manifest` builds the manifest of a run.
"""
