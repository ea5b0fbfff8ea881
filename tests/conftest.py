"""What holds for every test."""

import signal

# Started in the background of a script, a process ignores Ctrl-C, and so do its children. Tests
# that interrupt want what a person at a terminal has.
signal.signal(signal.SIGINT, signal.default_int_handler)
