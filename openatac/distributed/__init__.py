"""Multi-process training runs: their processes start, stay in contact and end together."""
