"""The entry point of `make capacity`."""

import signal

import benchmarks.environment  # noqa: F401 - before the import below
from benchmarks.capacity.command import main

signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
main()
