"""Both sides of the comparison: the program and the oracle, given the same history."""

import base64
import json
import subprocess
from functools import lru_cache

from oracle.log import Gap, Stop, canonical_lines, fold_dump

LIMIT_S = 300


@lru_cache(maxsize=8192)
def encoded(data: bytes) -> str:
    return '"' + base64.b64encode(data).decode("ascii") + '"'


@lru_cache(maxsize=8192)
def header(name: str, value: bytes | None) -> str:
    return "[%s,%s]" % (json.dumps(name), "null" if value is None else encoded(value))


def dump_bytes(partitions: int, records) -> bytes:
    lines = ['{"partitions":%d}' % partitions]
    for topic, partition, offset, time, key, headers, value in records:
        lines.append('{"topic":"%s","partition":%d,"offset":%d,"time":%d,"key":%s,"headers":[%s],"value":%s}' % (
            topic, partition, offset, time, "null" if key is None else encoded(key),
            ",".join(header(*pair) for pair in headers), "null" if value is None else encoded(value)))
    lines.append("")
    return "\n".join(lines).encode("utf-8")


def from_oracle(partitions: int, records, upto=None, rules=None) -> tuple[int, list[str]]:
    """(exit status, lines)"""
    try:
        return 0, canonical_lines(fold_dump(records, partitions, upto, rules))
    except Stop as stop:
        if rules is not None:
            rules["stop: " + ("fold version" if "version" in stop.why else "unknown control type")] += 1
        return 6, []
    except Gap as gap:
        return 7, [f"(gap) {gap}"]


def from_program(command: list[str], partitions: int, records, upto=None) -> tuple[int, list[str]]:
    arguments = [word for (topic, partition), offset in (upto or {}).items()
                 for word in ("--upto", f"{topic}/{partition}={offset}")]
    try:
        done = subprocess.run(command + arguments, input=dump_bytes(partitions, records), capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return -1, [f"(no end after {LIMIT_S} s)"]
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return done.returncode, [] if done.returncode in (6, 7) else ["(stderr) " + line for line in told[-20:]]
    return 0, sorted(done.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1])


def difference(oracle: tuple[int, list[str]], program: tuple[int, list[str]], limit: int = 12) -> list[str]:
    """The first differences in words; empty if both say the same."""
    if oracle == program:
        return []
    found = []
    if oracle[0] != program[0]:
        found.append(f"exit status: oracle {oracle[0]}, program {program[0]}")
    left, right = set(oracle[1]), set(program[1])
    for line in sorted(left - right)[:limit]:
        found.append("oracle only:  " + line)
    for line in sorted(right - left)[:limit]:
        found.append("program only: " + line)
    return found or ["the same lines, but not as often"]
