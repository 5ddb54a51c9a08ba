"""Parameter files of networks: read, checked, loaded, and the trained ones of the package."""
