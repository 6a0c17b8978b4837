"""What a database holds, in a form in which two databases, or a database and the oracle, can be compared.

snapshot() is general; the queries that name Keepsake's tables belong here too, under it.
db_state() is Keepsake's whole state in the lines that the oracle prints (tests/oracle), so that the two can be held against each other.
"""
import json
from collections import defaultdict

import psycopg2
import psycopg2.extras


def snapshot(conninfo, queries):
    """Runs {name: sql} in one snapshot and returns {name: [row as dict]}; bytes as hex, json as its stored text."""
    connection = psycopg2.connect(conninfo)
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        psycopg2.extras.register_default_json(connection, loads=lambda text: text)
        psycopg2.extras.register_default_jsonb(connection, loads=lambda text: text)
        found = {}
        with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            for name, sql in queries.items():
                cursor.execute(sql)
                found[name] = [{k: bytes(v).hex() if isinstance(v, memoryview) else v for k, v in row.items()}
                               for row in cursor.fetchall()]
        return found
    finally:
        connection.close()


def differences(one, other, limit=20):
    """The first places where two snapshots differ, as lines to print; [] when they are equal."""
    found = []
    for name in sorted(set(one) | set(other)):
        left, right = one.get(name, []), other.get(name, [])
        left_rows, right_rows = [_frozen(r) for r in left], [_frozen(r) for r in right]
        if left_rows == right_rows:
            continue
        found += [f"{name}: only in the first: {dict(r)}" for r in left_rows if r not in set(right_rows)]
        found += [f"{name}: only in the second: {dict(r)}" for r in right_rows if r not in set(left_rows)]
        if not found:
            found.append(f"{name}: the same rows in another order or number ({len(left)}, {len(right)})")
    return found[:limit]


def _frozen(row):
    return tuple(sorted((k, repr(v) if isinstance(v, (list, dict)) else v) for k, v in row.items()))


# --- Keepsake's tables, in the oracle's words

_COUNTS = ("applied", "repeat", "superseded", "conflict", "dead", "erased", "control", "late", "jump", "unsequenced")

_QUERIES = {
    "item": """SELECT kind, user_id AS user, item_id AS item, revision, source, sequence, deleted, doc::text AS doc FROM keepsake.item""",
    "window": """SELECT kind, user_id AS user, source, top, mask, closed FROM keepsake.seen""",
    "conflict": """SELECT partition, kind, revision, user_id AS user, item_id AS item, why, lost_revision, lost_source, lost_sequence,
                          lost_doc::text AS lost_doc FROM keepsake.conflict""",
    "dead": """SELECT topic, partition, "offset", kind AS stream, reason, hash, user_id AS user, headers IS NOT NULL AS bytes
               FROM keepsake.dead_letter""",
    "mark": """SELECT topic, kind, user_id AS user, id, revision FROM keepsake.erasure""",
    "ruling": """SELECT topic, partition, "offset", act, operands FROM keepsake.ruling""",
    "blob": """SELECT b.user_id AS user, b.sha256, b.chunks, b.size, b.complete, b.present AS present_count,
                      coalesce(array_agg(c.chunk ORDER BY c.chunk) FILTER (WHERE c.chunk IS NOT NULL), '{}') AS present
               FROM keepsake.blob b LEFT JOIN keepsake.blob_chunk c USING (partition, user_id, sha256, chunks, size)
               GROUP BY b.partition, b.user_id, b.sha256, b.chunks, b.size, b.complete, b.present""",
    "chunk without its set": """SELECT user_id AS user, sha256, chunks, size, chunk FROM keepsake.blob_chunk c WHERE NOT EXISTS (
                      SELECT FROM keepsake.blob b WHERE (b.partition, b.user_id, b.sha256, b.chunks, b.size)
                                                      = (c.partition, c.user_id, c.sha256, c.chunks, c.size))""",
    "position": f"""SELECT topic, partition, kind, next_offset, {", ".join(_COUNTS)} FROM keepsake.position""",
}


def db_state(conninfo):
    """The database's state as the oracle's lines: a list of dicts. Compare by oracle.log.canonical_lines."""
    found = snapshot(conninfo, _QUERIES)
    positions = found.pop("position")
    for row in found["ruling"]:
        row["operands"] = _operands(row["topic"], row["act"], json.loads(row["operands"]))
    for row in found["blob"]:
        # The count is for the writer; where it and the chunks disagree, no state of the oracle is equal to this one.
        if row.pop("present_count") != len(row["present"]):
            row["present_count_is_wrong"] = True
    lines = [{"t": name, **row} for name, rows in found.items() for row in rows]
    lines += [{"t": "counts", **{k: v for k, v in row.items() if k != "next_offset"}} for row in positions]
    return lines + list(_positions(positions))


def _operands(topic, act, body):
    """What a ruling says, without the members that only identify it."""
    if act == "exclude":
        return {"offset": body["offset"]}
    kinds = ("none", "blob") if topic == "keepsake.blobs" else ("none", "contact", "calendar", "note", "task", "photo", "score")
    return {"from": {kind: body["from"][kind] for kind in kinds}, "to": body["to"]}


def _positions(rows):
    """One line a partition where its streams agree, else one a stream."""
    by_partition = defaultdict(dict)
    for row in rows:
        by_partition[row["topic"], row["partition"]][row["kind"]] = row["next_offset"]
    for (topic, partition), offsets in by_partition.items():
        agreed = set(offsets.values())
        if len(agreed) == 1:
            yield {"t": "position", "topic": topic, "partition": partition, "next_offset": agreed.pop()}
        else:
            for kind, offset in offsets.items():
                yield {"t": "position", "topic": topic, "partition": partition, "kind": kind, "next_offset": offset}
