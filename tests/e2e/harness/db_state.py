"""What a database holds, in a form in which two databases, or a database and the oracle, can be compared.

snapshot() is general; the queries that name Keepsake's tables belong here too, under it.
"""
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
