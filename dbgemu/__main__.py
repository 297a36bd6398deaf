"""``python -m dbgemu``."""

import sys

from dbgemu.cli import main

sys.exit(main())
