"""Which network a run or a parameter file holds.

`trained_network` loads one for an export, with its manifest and its images; `run_network` one that computes,
as ``predict`` and ``openatac.load`` use it; `described_network` completes the config of a script by what lies
beside the parameters that it is given. `run_manifest` writes the manifest of a run.
"""
