"""The network of a run or of a parameter file, with its manifest and its images, to export or to measure."""
