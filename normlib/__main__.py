"""``python -m normlib`` is ``normlib``."""

from normlib.cli import main

main()
