"""`python -m hdtrans` is `hdtrans`."""

import sys

from hdtrans.cli import main

sys.exit(main())
