"""`python -m cadence_rl`: the same as `cadence`."""

import sys

from cadence_rl.console import main

if __name__ == "__main__":
    sys.exit(main())
