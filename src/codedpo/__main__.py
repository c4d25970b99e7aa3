"""``python -m codedpo``."""

from codedpo.cli import main

main()
