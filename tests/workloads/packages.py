"""What the packages hold whose folders follow a script's first argument."""

import glob
import os
import sys


def shipped(pattern):
    """The one file that the pattern names."""
    found = [path for folder in sys.argv[2:] for path in glob.glob(os.path.join(folder, pattern))]
    assert len(found) == 1, f"{pattern}: {found}"
    return found[0]
