"""The version of openatac, for the package, its metadata and the results that it writes."""
__version__ = '0.1.0'
