"""Identify and load the network of a run or a parameter file.

`export_source` loads it for an export, with its manifest and its images. `inference_network` loads it for
inference, for ``predict`` and ``openatac.load``. `completed_config` completes a script's config from files
beside the given parameters. `run_manifest` builds the manifest of a run.
"""
