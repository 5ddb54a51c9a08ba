"""The files in a folder, to check whether something changed them."""


def contents(folder):
    """Return {name: bytes} of the files in a folder, without those in its subfolders."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
