"""The version of openatac, for the package, its installation and the results that it makes."""
__version__ = '0.1.0'
