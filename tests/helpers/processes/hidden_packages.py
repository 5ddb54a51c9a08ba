"""Packages hidden from the Python processes that tests start, as if they were not installed."""

# Modules that Windows lacks and that the rest of the standard library can do without.
UNIX_MODULES = ('fcntl', 'resource', 'grp', 'pwd', 'termios', 'tty', 'pty', 'syslog', 'readline', 'curses')
HIDING = '''
import importlib.machinery, sys
def hides(finder):
    class Hiding(finder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name.split('.')[0] in %r else super().find_spec(name, path, target)
    return Hiding
for finder in importlib.machinery.BuiltinImporter, importlib.machinery.PathFinder:
    sys.meta_path[sys.meta_path.index(finder)] = hides(finder)
for name in %r:
    sys.modules.pop(name, None)
'''


def hide_packages(packages, folder):
    """Return [folder], which hides the packages from every Python process with the folder on its path."""
    (folder / 'sitecustomize.py').write_text(HIDING % (packages, packages))
    return [folder]
