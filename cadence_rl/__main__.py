"""`python -m cadence_rl`: the same as `cadence`."""

import sys

from cadence_rl.console import main

sys.exit(main())
