"""What the end-to-end tests stand on: the program, the log, the database, and waiting for facts.

program.py   runs build/keepsake, in front or as a daemon that can be killed and paused
log.py       the two topics: fresh, published to, dumped, damaged
reader.py    reads records as they are, also those that no well-behaved client can read
wire.py      the few requests to a broker that the Python client of Debian 12 lacks
database.py  a database of its own for each test
proxy.py     stands between two programs: cuts, holds, resets, slows what passes
sessions.py  what the programs' sessions in PostgreSQL do, and locks that make them wait
db_state.py  what a database holds, in a form that two of them can be compared in
"""
from .database import Database, query
from .log import BLOBS, CHANGES, Log
from .program import Daemon, Program, Result, wait_for

__all__ = ["BLOBS", "CHANGES", "Daemon", "Database", "Log", "Program", "Result", "query", "wait_for"]
