"""Random histories of the simulator for a real log, and the oracle's word on what a log means."""
import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[2]
for _folder in (_TESTS, _TESTS / "sim"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))
# pylint: disable=wrong-import-position
from oracle.dump import record_of  # noqa: E402
from oracle.log import canonical_lines, fold_dump  # noqa: E402
from simulate import History  # noqa: E402

from .db_state import db_state  # noqa: E402

# Rulings need offsets that only a real log gives; an unknown fold version or control type stops every program.
_LEFT_OUT = ("keepsake.genesis.v1", "keepsake.ruling.v1", "keepsake.fold.v1")


def history(seed, events, partitions=None):
    """(partitions, records to publish) of a history whose epoch is 1, as a new log's is."""
    for attempt in range(1000):
        found = History(seed + 7919 * attempt, events, partitions if partitions and partitions > 3 else None)
        if found.epoch == 1 and partitions in (None, found.partitions):
            break
    records = []
    for one in found.records:
        kind = dict((name, value) for name, value in one.headers).get("ce_type", b"") or b""
        if one.key is None and (kind.decode("utf-8", "replace") in _LEFT_OUT or b"control" in kind or kind.startswith(b"keepsake.")):
            continue
        records.append({"topic": one.topic, "partition": one.partition, "key": one.key, "value": one.value, "headers": list(one.headers)})
    return found.partitions, records


def oracle_of(log, upto=None):
    """What the log holds, folded by the oracle: sorted canonical lines. `log` is a harness Log or a dump."""
    dump = log if isinstance(log, list) else log.dump()
    partitions = 1 + max(record["partition"] for record in dump)
    return canonical_lines(fold_dump([record_of(line) for line in dump], partitions, upto))


def rows_of(database):
    """The database's rows in the same form."""
    return canonical_lines(db_state(getattr(database, "conninfo", database)))


def assert_same(rows, expected, limit=8):
    """Fails with the first differences."""
    if rows == expected:
        return
    missing, extra = sorted(set(expected) - set(rows)), sorted(set(rows) - set(expected))
    raise AssertionError("\n".join([f"{len(missing)} lines missing, {len(extra)} too many"] + ["missing: " + line[:400] for line in missing[:limit]]
                                   + ["extra:   " + line[:400] for line in extra[:limit]]))
