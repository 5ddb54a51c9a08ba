"""Training runs of several processes: started, kept in contact, and ended together."""
