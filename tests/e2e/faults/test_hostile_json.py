"""JSON at and beyond every limit: what is taken comes back byte for byte and PostgreSQL takes it too; the rest is a dead letter with its reason. Program, oracle, PostgreSQL and a table
made by hand say the same."""
import re
from pathlib import Path

import psycopg2
from catalogue import fault
from harness import query
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import unb64

CASES = Path(__file__).resolve().parents[2] / "cases" / "json"
GOOD = None
LIMIT = 524_288


def long_string(size, letter="x"):
    return b'{"t":"' + letter.encode() * ((size - 8) // len(letter.encode())) + b'"}'


def nested(levels, opening=b"[", closing=b"]"):
    """An object with so many levels, itself the first."""
    return b'{"d":' + opening * (levels - 1) + closing * (levels - 1) + b"}"


# what it is, the bytes, the reason of its dead letter
TABLE = [
    ("U+0000 escaped", rb'{"a":"\u0000"}', "json-nul"), ("U+0000 escaped in a name", rb'{"\u0000":1}', "json-nul"), ("U+0000 raw", b'{"a":"\0"}', "json-nul"),
    ("U+0000 behind the end", b"{}\0", "json-nul"), ("an escaped backslash before u0000", rb'{"a":"\\u0000"}', GOOD),
    ("a high surrogate alone", rb'{"a":"\ud800"}', "json-surrogate"), ("a low one alone", rb'{"a":"\udc00"}', "json-surrogate"), ("a pair the wrong way round", rb'{"a":"\udc00\ud800"}', "json-surrogate"),
    ("a pair", rb'{"a":"\ud83d\ude00"}', GOOD), ("a surrogate in UTF-8", b'{"a":"\xed\xa0\x80"}', "json-utf8"),
    ("overlong", b'{"a":"\xc0\xaf"}', "json-utf8"), ("cut off", b'{"a":"\xe2\x82', "json-utf8"), ("beyond U+10FFFF", b'{"a":"\xf4\x90\x80\x80"}', "json-utf8"),
    ("noncharacters, U+FFFE, private use", '{"a":"\ufffe\uffff\U0010ffff\ue000"}'.encode(), GOOD), ("C1 and DEL", '{"a":"\x7f\x80\x9f"}'.encode(), GOOD),
    ("a BOM", b"\xef\xbb\xbf{}", "json-bom"), ("a BOM further on", b'{"a":"\xef\xbb\xbf"}', GOOD), ("UTF-16 with BOM", b"\xff\xfe{\0}\0", "json-utf8"),
    ("100,000 levels of arrays", nested(100_000), "json-depth"), ("100,000 open brackets", b"[" * 100_000, "json-depth"), ("100,000 levels of objects", b'{"a":' * 100_000, "json-depth"),
    ("64 levels", nested(64), GOOD), ("65 levels", nested(65), "json-depth"), ("64 levels of objects", b'{"a":' * 63 + b"{}" + b"}" * 63, GOOD),
    ("names twice", b'{"a":1,"a":2,"\\u0061":{"b":1,"b":[2]}}', GOOD), ("a thousand times the same name", b"{" + b",".join(b'"a":%d' % n for n in range(1000)) + b"}", GOOD),
    ("1e400", b'{"a":1e400}', GOOD), ("1e-400", b'{"a":-1E-400}', GOOD), ("1e1000", b'{"a":1e1000}', GOOD), ("1e1001", b'{"a":1e1001}', "json-number"), ("1e-1001", b'{"a":1e-1001}', "json-number"),
    ("an exponent of 30 digits", b'{"a":1e' + b"9" * 30 + b"}", "json-number"), ("leading zeros in the exponent", b'{"a":1e+0000000000007}', GOOD),
    ("20 digits", b'{"a":12345678901234567890}', GOOD), ("1000 digits", b'{"a":' + b"9" * 1000 + b"}", GOOD), ("1001 digits", b'{"a":' + b"9" * 1001 + b"}", "json-number"),
    ("-0 and the like", b'{"a":-0,"b":-0.0,"c":0e0,"d":1.10,"e":1E2}', GOOD), ("NaN", b'{"a":NaN}', "json-syntax"), ("01", b'{"a":01}', "json-syntax"), ("+1", b'{"a":+1}', "json-syntax"),
    ("garbage behind", b"{} x", "json-syntax"), ("two objects", b"{}{}", "json-syntax"), ("a comma too many", b'{"a":1,}', "json-syntax"), ("single quotes", b"{'a':1}", "json-syntax"),
    ("a comment", b"{/**/}", "json-syntax"), ("no name", b"{a:1}", "json-syntax"), ("a line feed in a string", b'{"a":"\n"}', "json-syntax"), ("a no-break space between", b'{"a":\xc2\xa01}', "json-syntax"),
    ("white space all around", b" \t\r\n{ } \n", GOOD), ("an empty name", b'{"":{"":""}}', GOOD), ("a string of 900 KB", long_string(900_000), "data-too-large"),
    ("a string of 512 KiB", long_string(LIMIT), GOOD), ("one byte more", long_string(LIMIT + 1), "data-too-large"), ("512 KiB in four-byte letters", long_string(LIMIT, "😀"), GOOD),
    ("512 KiB of names", b"{" + b",".join(b'"%06d":0' % n for n in range(40_000)) + b"}", GOOD), ("512 KiB of white space", b" " * (LIMIT - 2) + b"{}", GOOD),
    ("512 KiB of escapes", b'{"a":"' + b"\\u0041" * 87_000 + b'"}', GOOD), ("a broken one of 512 KiB", b'{"a":' + b"1," * 260_000, "json-syntax"),
    ("text that looks like SQL and COPY", b'{"a":"\\\\. \\\\N \\t \' ); DROP TABLE keepsake.item; -- %s $1"}', GOOD),
]


def corpus():
    for path in sorted((CASES / "valid").iterdir()):
        text = path.read_bytes()
        yield path.name, text, GOOD if text.strip(b" \t\r\n").startswith(b"{") else "data-not-object"
    for path in sorted((CASES / "invalid").iterdir()):
        text = path.read_bytes()
        yield path.name, text, "json-" + path.name.partition("@")[0] if text else "data-missing"


def postgresql_takes(connection, text):
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT convert_from(%s, 'UTF8')::json, convert_from(%s, 'UTF8')::jsonb", (psycopg2.Binary(text), psycopg2.Binary(text)))
        return True
    except psycopg2.Error as error:
        assert error.pgcode[:2] in ("22", "54"), error
        return False


@fault("F39", inject="some 220 documents at and beyond every limit of JSON: escapes, surrogates, bytes, depth, numbers, names, sizes, what stands around them",
       struck="the log's dump holds each byte for byte", expect="kept byte for byte, or a dead letter with the reason of the table; PostgreSQL's json and jsonb take all that is kept")
def test_F39_each_json_text_is_kept_byte_for_byte_or_refused_with_the_reason_of_the_table(keepsake, log, database):
    cases = [*TABLE, *corpus()]
    assert len(cases) > 200 and {reason for _, _, reason in cases} >= {GOOD, *(f"json-{fault}" for fault in ("bom", "utf8", "nul", "surrogate", "number", "depth", "syntax"))}
    keepsake("init", "--partitions", "4")
    users = [f"u{n}" for n in range(16)]  # spread, so that no partition comes to the hundred dead letters that would stop it
    records = [{**change(n, user=users[n % 16], item=f"i{n}", source=f"/handsets/{n}"), "value": text} for n, (_, text, _) in enumerate(cases)]
    places = log.publish(records, **{"message.max.bytes": 2_000_000})
    dump = {(r["partition"], r["offset"]): r for r in log.dump()}
    assert all(unb64(dump[place[1:]]["value"]) == text for place, (_, text, _) in zip(places, cases))
    run = keepsake("consume", "--until-caught-up", "--batch-events", "50")
    assert "stopped" not in run.stderr
    dead = {(partition, offset): reason for partition, offset, reason in query(database, 'SELECT partition, "offset", reason FROM keepsake.dead_letter')}
    kept = dict(query(database, "SELECT item_id, convert_to(doc::text, 'UTF8') FROM keepsake.item"))
    wrong = []
    connection = database.connect()
    for n, ((name, text, reason), place) in enumerate(zip(cases, places)):
        found = dead.get(place[1:])
        if found != reason:
            wrong.append(f"{name}: {found} instead of {reason}")
        elif reason is GOOD and bytes(kept.get(f"i{n}", b"")) != text:
            wrong.append(f"{name}: other bytes")
        elif reason is GOOD and not postgresql_takes(connection, text):
            wrong.append(f"{name}: kept, but PostgreSQL does not take it")
        elif re.match("json-(bom|utf8|nul|surrogate|syntax)", reason or "") and postgresql_takes(connection, text):
            wrong.append(f"{name}: refused, but PostgreSQL takes it")
    connection.close()
    assert not wrong, "\n".join(wrong)
    right = oracle_of(log)
    assert_same(rows_of(database), right)
    assert query(database, "SELECT doc::jsonb->'a'->'b' FROM keepsake.item WHERE doc::text LIKE '%%0061%%' AND user_id LIKE 'u%%' AND octet_length(doc::text) < 100") == [([2],)], "the last one counts"
    for user in users:  # what readers get of it, through their own function and the views
        mine = query(database, "SELECT item_id, convert_to(doc::text, 'UTF8') FROM keepsake.changes(%s, 'contact', NULL, 1000) WHERE item_id IS NOT NULL", user)
        assert {item: bytes(doc) for item, doc in mine} == {f"i{n}": text for n, (_, text, reason) in enumerate(cases) if reason is GOOD and users[n % 16] == user}
        assert len(query(database, "SELECT keepsake.as_user(%s); SELECT * FROM keepsake.contact WHERE user_id = %s", user, user)) == len(mine)
    database.drop()
    keepsake("init")
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), right)
    assert "equal" in keepsake("verify", "--deep").stdout


@fault("F39", inject="the same documents as data of structured events", struck="the dump holds the envelopes", expect="data is cut out byte for byte; a fault that ends the text spoils the envelope")
def test_F39_in_structured_mode_data_is_cut_out_byte_for_byte(keepsake, log, database):
    cases = [case for case in TABLE if len(case[1]) < 500_000]
    # Bytes after which nobody can know where data ends leave no envelope at all.
    unreadable = {"json-bom", "json-utf8", "json-syntax"}
    keepsake("init", "--partitions", "1")
    records = []
    for n, (_, text, _) in enumerate(cases):
        head = b'{"specversion":"1.0","id":"e","source":"/handsets/%d","type":"keepsake.note.put.v1","subject":"i%d","sequence":"1","partitionkey":"anna","data": ' % (n, n)
        records.append({"key": "anna", "headers": [("content-type", b"application/cloudevents+json")], "value": head + text + b' ,"more":"x"}'})
    places = log.publish(records, **{"message.max.bytes": 2_000_000})
    keepsake("consume", "--until-caught-up")
    dead = dict(query(database, 'SELECT "offset", reason FROM keepsake.dead_letter'))
    kept = {item: bytes(doc) for item, doc in query(database, "SELECT item_id, convert_to(doc::text, 'UTF8') FROM keepsake.item")}
    for n, ((name, text, reason), (_, _, offset)) in enumerate(zip(cases, places)):
        if reason is GOOD:
            assert kept.get(f"i{n}") == text.strip(b" \t\r\n"), (name, dead.get(offset))
        elif reason in unreadable or name in ("U+0000 behind the end",):
            assert dead.get(offset) == "envelope-invalid", (name, dead.get(offset))
        else:
            assert dead.get(offset) in (reason, "envelope-invalid") and f"i{n}" not in kept, (name, dead.get(offset))
    assert {"json-nul", "json-surrogate", "json-number", "json-depth", "envelope-invalid"} <= set(dead.values())
    assert_same(rows_of(database), oracle_of(log))
