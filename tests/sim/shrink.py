"""Make a history that shows a difference as small as time allows.

Offsets are part of what is folded, so records keep theirs: one that is dropped from the middle leaves a mark
(a control record without effect) in its place; the tail and whole partitions go altogether.
"""

import time

FILLER_HEADERS = (("ce_specversion", b"1.0"), ("ce_id", b"dropped"), ("ce_source", b"/keepsake/test"),
                  ("ce_type", b"keepsake.mark.v1"))
FILLER_VALUE = b'{"name":"dropped"}'


def is_filler(record) -> bool:
    return record.headers == FILLER_HEADERS


def filler(record):
    return record._replace(key=None, headers=FILLER_HEADERS, value=FILLER_VALUE)


def shrink(records: list, differs, limit_s: float) -> list:
    """`differs(records)` must be true of the given records; it is of the answer."""
    end = time.monotonic() + limit_s
    records = without_partitions(records, differs)
    records = shorter(records, differs, end)
    size = max(1, len(records) // 2)
    while time.monotonic() < end:
        records, changed = replaced(records, differs, size, end)
        if size == 1 and not changed:
            break
        if not changed:
            size = max(1, size // 2)
    return shorter(records, differs, end + 5)


def without_partitions(records: list, differs) -> list:
    for place in sorted({(record.topic, record.partition) for record in records}):
        fewer = [record for record in records if (record.topic, record.partition) != place]
        if differs(fewer):
            records = fewer
    return records


def shorter(records: list, differs, end: float) -> list:
    step = len(records) // 2
    while step and time.monotonic() < end:
        if step < len(records) and differs(records[:-step]):
            records = records[:-step]
        else:
            step //= 2
    return records


def replaced(records: list, differs, size: int, end: float) -> tuple[list, bool]:
    changed = False
    for begin in range(0, len(records), size):
        if time.monotonic() > end:
            break
        part = records[begin:begin + size]
        if all(is_filler(record) for record in part):
            continue
        fewer = records[:begin] + [filler(record) for record in part] + records[begin + size:]
        if differs(fewer):
            records, changed = fewer, True
    return records, changed
