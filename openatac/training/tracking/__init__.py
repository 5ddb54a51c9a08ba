"""The log of a run, its metrics and the services that it reports to."""
