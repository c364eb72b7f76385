"""`python -m harp` is `harp`."""

from harp.cli import main

main()
