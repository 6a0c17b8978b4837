"""What must be so after each round, once everything is healed and applied. Each check says how much it looked at; one that looked at nothing fails."""
import base64
import json
from collections import Counter

from oracle.dump import record_of
from oracle.verdict import judge
from world import CHANGES, Finding

from harness.histories import assert_same, oracle_of, rows_of

OUTCOMES = ("applied", "repeat", "superseded", "conflict", "dead", "erased", "control")


def check(world, ledger, fleet):
    """Raises Finding or AssertionError. Returns how much was looked at, and the log's outcomes so far."""
    dump = world.log.dump(limit_s=180)
    rows, expected = rows_of(world.database), oracle_of(dump)
    assert_same(rows, expected)
    looked = {"records": len(dump), "rows": len(rows)}
    looked["acknowledgements"] = _acknowledged_is_durable(dump, ledger)
    outcomes = _the_sums_are_the_logs(world, dump)
    looked["canaries"] = _canaries(world, dump, ledger)
    looked["items of handsets"] = _handsets_have_the_rows(world, fleet)
    empty = [name for name, count in looked.items() if not count]
    if empty:
        raise Finding(f"these checks looked at nothing: {', '.join(empty)}")
    return looked, outcomes


def _acknowledged_is_durable(dump, ledger):
    """Every acknowledgement names a record of the log, and that record is the event."""
    log = {(record["topic"], record["partition"], record["offset"]): record for record in dump}
    count = 0
    for event in ledger.events.values():
        if not event.acks:
            raise Finding(f"{event} was handed over and never acknowledged")
        for place in event.acks:
            if place[2] is None:
                continue  # the broker did not say where: `known to be in the log`
            record = log.get(place)
            if record is None:
                raise Finding(f"acknowledged and not in the log: {event} at {place}")
            if _identity(record) != event.id and not (event.record and _same(record, event.record)):
                raise Finding(f"acknowledged as {place}, where another event stands: {event}, {record}")
            count += 1
    return count


def _identity(record):
    for name, value in record["headers"]:
        if name == "ce_id" and value:
            return base64.b64decode(value).decode("utf-8", "replace")
        if name == "content-type" and value and b"cloudevents" in base64.b64decode(value).lower():
            try:
                return str(json.loads(base64.b64decode(record["value"]))["id"])
            except (ValueError, KeyError, TypeError):
                return None
    return None


def _kinds(record):
    """Where the type may stand: it is judged only where this names an erasure."""
    types = b" ".join(base64.b64decode(value) for name, value in record["headers"] if value and name == "ce_type")
    structured = any(name == "content-type" and value and b"cloudevents" in base64.b64decode(value).lower() for name, value in record["headers"])
    return (types + base64.b64decode(record["value"] or "")).decode("utf-8", "replace") if structured else types.decode("utf-8", "replace")


def _same(record, published):
    value = published.get("value")
    value = value.encode() if isinstance(value, str) else value
    return (None if record["value"] is None else base64.b64decode(record["value"])) == value and len(record["headers"]) == len(published["headers"])


def _the_sums_are_the_logs(world, dump):
    """Each record is counted once by the stream that it belongs to; an erasure once by each stream of its partition."""
    counts = {row[:2]: row[2:] for row in world.database.query(f"SELECT topic, partition, {', '.join(f'sum({name})::bigint' for name in OUTCOMES)}, count(*) FROM keepsake.position GROUP BY 1, 2")}
    records, erasures, total = Counter(), Counter(), Counter()
    for record in dump:
        place = record["topic"], record["partition"]
        records[place] += 1
        if "erase" in _kinds(record):
            erasures[place] += judge(record_of(record), world.partitions).act == "erase"
    for place, (*found, streams) in counts.items():
        outcomes = Counter(dict(zip(OUTCOMES, found)))
        if sum(outcomes.values()) != records[place] + erasures[place] * (streams - 1):
            raise Finding(f"{place}: the log has {records[place]} records, {erasures[place]} of them erasures; the database counts {outcomes}")
        # one with a known id is a repeat in each stream
        once = outcomes["erased"] // streams
        total.update(outcomes)
        total["erased"] -= outcomes["erased"] - once
        total["repeat"] -= (erasures[place] - once) * (streams - 1)
    if sum(total.values()) != len(dump):
        raise Finding(f"the sums are {dict(total)}, the log has {len(dump)} records")
    letters = world.database.value("SELECT count(*) FROM keepsake.dead_letter")
    if letters != total["dead"]:
        raise Finding(f"{total['dead']} dead letters are counted, {letters} are kept")
    return dict(total)


def _canaries(world, dump, ledger):
    """An event that is the only one of its item, seen by no oracle: acknowledged, it stands in the database with the revision of its first record, or it is a
    dead letter, or its person was erased after it, or before it and it had come late."""
    first = {}
    for record in dump:
        if record["topic"] == CHANGES:
            first.setdefault(_identity(record), []).append(record["offset"])
    rows = {row[:3]: row[3:] for row in world.database.query("SELECT user_id, kind::text, item_id, revision & ((1::bigint << 48) - 1), doc::text FROM keepsake.item WHERE item_id LIKE 'canary-%'")}
    dead = {(row[0], row[1]) for row in world.database.query('SELECT partition, "offset" FROM keepsake.dead_letter WHERE topic = \'keepsake.changes\'')}
    erased = dict(world.database.query("SELECT user_id, max(revision & ((1::bigint << 48) - 1)) FROM keepsake.erasure WHERE topic = 'keepsake.changes' GROUP BY 1"))
    count = 0
    for event in ledger.events.values():
        if not event.canary:
            continue
        count += 1
        offsets = first.get(event.id, [])
        found = rows.get((event.user, event.kind, event.item))
        good = [offset for offset in offsets if (event.acks[0][1], offset) not in dead]
        if found is None:
            if good and erased.get(event.user, -1) < good[0] and not _closed(event, erased, ledger):
                raise Finding(f"acknowledged and not there: {event}, in the log at {offsets}")
        elif found[1] != event.doc or found[0] not in offsets:
            raise Finding(f"{event} is in the log at {offsets}, in the database as {found}")
        elif found[0] != good[0] and erased.get(event.user, -1) < good[0]:
            raise Finding(f"{event} counted twice: in the log at {offsets}, in the database of {found[0]}")
    return count


def _closed(event, erased, ledger):
    """Its person was erased before it, when the same device had already published a higher number of this kind: then it is a repeat."""
    return event.user in erased and any(other.source == event.source and other.kind == event.kind and (other.sequence or 0) > event.sequence
                                        and any(offset is not None and offset < erased[event.user] for _, _, offset in other.acks) for other in ledger.events.values())


def _handsets_have_the_rows(world, fleet):
    wanted = {}
    for user, kind, item, revision, doc in world.database.query("SELECT user_id, kind::text, item_id, revision, doc::text FROM keepsake.item"):
        wanted.setdefault((user, kind), {})[item] = (revision, doc)
    count = 0
    for (user, kind, source), items in fleet.read_to_the_end().items():
        if items != wanted.get((user, kind), {}):
            raise Finding(f"the handset {source} of {user} has other items than the rows, {kind}: {sorted(set(items.items()) ^ set(wanted.get((user, kind), {}).items()))[:5]}")
        count += len(items)
    return count
