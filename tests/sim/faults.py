"""Texts that are not JSON by our rules, one fault or several of them in a row, and texts that barely are."""

FAULTS = {
    "json-utf8": (b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xe2\x82"', b'"\xf4\x90\x80\x80"', b'"\x80"', b"\xff", b"tr\xc3",
                  b"1\xe2\x82", b'"\\u00\xff"', b'"\xf0\x9f\x98"'),
    "json-nul": (b'"\\u0000"', b'"a\x00b"', b"\x00", b'"\\u00\x00"', b"tru\x00", b"-\x00", b'"x\\u0000\\ud800"', b"1.\x00"),
    "json-surrogate": (b'"\\ud800"', b'"\\udc00"', b'"\\ud800\\ud800"', b'"\\uDBFF\\u0041"', b'"\\ud83d\\u0000"', b'"\\ud800\\x"',
                       b'"\\ud800\\udc0g"', b'"\\ud83d\\ude00\\ude00"', b'"\\ud800\xff"'),
    "json-number": (b"1e1001", b"-1E-1001", b"1e+99999999999999999999", b"1" * 1001, b"0." + b"0" * 999, b"-" + b"9" * 1000,
                    b"1e00000000000000000001001", b"1e1001x", b"1" * 1000 + b"e1"),
    "json-depth": (b"[" * 63 + b"]" * 63, b"[" * 64, b'{"a":' * 63 + b"1" + b"}" * 63, b"[" * 70 + b"]" * 70, b"[[" * 40 + b"\x00"),
    "json-syntax": (b"NaN", b"Infinity", b"01", b"1.", b".5", b"+1", b"1e", b"1e+", b"-", b"'x'", b'"\x1f"', b'"\n"', b'"\\x"', b'"\\u12"', b"tru",
                    b"True", b"[1,]", b"[,1]", b"[1 2]", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{1:2}", b"{,}", b"[1}", b'{"a":1]', b"/**/1",
                    b'"', b'"\\', b"\xc3\xa9", b"\xe2\x80\xa8", b"", b"nulll", b'"\\u{41}"', b"1" * 900 + b".", b"\x0b1"),
}
KINDS = tuple(FAULTS) + ("json-depth",)
GOOD = (b"1", b'"x"', b"null", b"{}", b"[]", b'"\\ud83d\\ude00"', b"1e1000", b"-0.0E-1000", b"1" * 1000, b"[" * 61 + b"]" * 61, b'"\xf0\x9f\x98\x80"',
        b'{"a":1,"a":2}', b'"\x7f"', b'"\\u001f\\/\\b"', b"true", b"1e0001000", b'"\xef\xbb\xbf"', b"12345678901234567890123",
        b'"\xef\xbf\xbf"', b'"\\uFFFF"', b"[ ]", b"{ }", b"1e400")
MUTANT_BYTES = b'{}[]",:\\u0dD8eE+-.19 \t\n\x00\x1f\x7f\x80\xc3\xed\xef\xff'
MUTANTS = (b'{"a":[1,-2.5e3,true,null,false],"b":{"c":"x\\n\\u00e9\\ud83d\\ude00"},"d":[[],{}]}',
           b'{"name":{"full":"J\xc3\xb6rg \xf0\x9f\x98\x80"},"n":[0,-0,10.01E+5]}', b"{}", b' {"":""} ')


def fault_text(rng) -> bytes:
    """Mostly an object with one fault in it; sometimes several faults, a blind mutation, or none at all."""
    how = rng.random()
    if how < 0.1:
        return b"\xef\xbb\xbf" + rng.choice((b"{}", b"", b"\xff", b"[" * 80, rng.choice(MUTANTS)))
    if how < 0.14:
        return bom_inside(rng)
    if how < 0.25:
        return mutant(rng)
    parts = [rng.choice(GOOD) for _ in range(rng.randrange(3))]
    faults = [rng.choice(FAULTS[rng.choice(KINDS)]) for _ in range(1 if how < 0.75 else rng.randrange(4))]
    for fault in faults:
        parts.insert(rng.randint(0, len(parts)), fault)
    if rng.random() < 0.1:
        return rng.choice(parts or [b" "])
    names = [b'"a":', b'"b" : ', b'"\\u0061":', b'\n"":']
    return b"{" + b",".join(rng.choice(names) + part for part in parts) + b"}" + rng.choice(
        (b"", b"", b"", b"", b"", b" ", b"\x00", b"x", b"\xff"))


def bom_inside(rng) -> bytes:
    return rng.choice((b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf{}", b" \xef\xbb\xbf{}", b"\xef\xbb{}", b"\xff\xfe{\x00}\x00",
                       b"\xef\xbb\xbf{}", b"\xef\xbb\xbf[1]", b"\xef\xbb\xbf null"))


def mutant(rng) -> bytes:
    text = bytearray(rng.choice(MUTANTS))
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text))
        how = rng.randrange(3)
        if how == 0:
            text[at] = rng.choice(MUTANT_BYTES)
        elif how == 1:
            text.insert(at, rng.choice(MUTANT_BYTES))
        elif len(text) > 1:
            del text[at]
    return bytes(text)
