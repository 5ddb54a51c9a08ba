"""Read, check and load the parameter files of networks, including the package's trained weights."""
