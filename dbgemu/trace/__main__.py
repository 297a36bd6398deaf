"""``python -m dbgemu.trace``."""

import sys

from dbgemu.trace.cli import main

sys.exit(main())
