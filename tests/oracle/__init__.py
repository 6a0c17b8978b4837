"""The oracle: what a log means, written from docs/event-format.md and docs/fold.md alone.

It shares no line with the program that it judges, needs only Python's standard library, and is
meant to be read beside the two documents. It holds a whole history in memory and does no I/O but
in oracle.py and dump.py.
"""

from .dump import Record, read_dump, write_dump
from .log import Gap, Stop, canonical_lines, fold_dump

__all__ = ["Gap", "Record", "Stop", "canonical_lines", "fold_dump", "read_dump", "write_dump"]
