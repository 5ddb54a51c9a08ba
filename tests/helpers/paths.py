"""Where the checkout and the data beside it are."""
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED_DATA = ROOT.parent / 'shared' / 'data'
