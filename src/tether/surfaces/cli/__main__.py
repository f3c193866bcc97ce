"""``python -m tether.surfaces.cli``: the same as the script ``tether``."""

import sys

from tether.surfaces.cli import main

sys.exit(main())
