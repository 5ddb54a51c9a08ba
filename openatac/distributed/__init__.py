"""Multi-process training runs: started, kept in contact, and ended together."""
