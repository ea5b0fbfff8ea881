"""``python -m mmcore``: the command line."""

from mmcore.cli.main import main

main()
