"""Needed by pip before 21.3 for editable installs; pyproject.toml describes the package."""
from setuptools import setup

setup()
