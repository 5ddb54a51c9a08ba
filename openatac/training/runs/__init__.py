"""The run of each script, from a config to a trained network in a folder."""
