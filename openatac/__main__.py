"""Run the command line as ``python -m openatac``."""
import sys

from openatac.cli import main

sys.exit(main())
