"""`python -m anomalib_patchgan`, the same as `anomalib-patchgan`."""

import sys

from anomalib_patchgan.cli import main

if __name__ == "__main__":
    sys.exit(main())
