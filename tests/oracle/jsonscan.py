"""The JSON rules of docs/event-format.md, as a scanner that names the first fault from left to right.

Python's own json module is no judge here: it takes NaN, lone surrogates, any depth and any number,
and cannot tell where a member's bytes stood.

A fault is (reason, where). The text's first ill-formed UTF-8 byte is found beforehand; the scanner
treats it as the end of the text, and whoever runs into that end reports `json-utf8`. A byte that
cannot stand where it stands is `json-nul` if it is 0, else `json-syntax`.
"""

import re

MAX_DEPTH = 64
MAX_NUMBER_CHARS = 1000
MAX_EXPONENT = 1000

BLANK = re.compile(rb"[ \t\n\r]*")
SIMPLE_STRING = re.compile(rb'"[^"\\\x00-\x1f]*"')
PLAIN = re.compile(rb'[^"\\\x00-\x1f]+')
NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?(?:[eE]([+-]?[0-9]+))?")
HEX4 = re.compile(rb"[0-9a-fA-F]{4}")
LOW_SURROGATE = re.compile(rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}")
EMPTY_OBJECT = re.compile(rb"[ \t\n\r]*\{[ \t\n\r]*\}[ \t\n\r]*")
OBJECT, ARRAY = 0, 1


class Fault(Exception):
    def __init__(self, reason: str, where: int):
        super().__init__(reason)
        self.reason = reason
        self.where = where


def utf8_end(text: bytes) -> int:
    """Where the first ill-formed UTF-8 sequence begins; the length if there is none."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return len(text)


class Scanner:
    """Reads one text. `tolerated`, if a list, collects faults that leave the rest readable."""

    def __init__(self, text: bytes):
        self.text = text
        self.end = utf8_end(text)
        self.tolerated: list | None = None

    def wrong_byte(self, at: int) -> Fault:
        if at >= self.end:
            return Fault("json-utf8" if self.end < len(self.text) else "json-syntax", at)
        return Fault("json-nul" if self.text[at] == 0 else "json-syntax", at)

    def tolerable(self, reason: str, at: int) -> None:
        if self.tolerated is None:
            raise Fault(reason, at)
        self.tolerated.append(reason)

    def blank(self, at: int) -> int:
        return BLANK.match(self.text, at, self.end).end()

    def literal(self, word: bytes, at: int) -> int:
        for i, byte in enumerate(word):
            if at + i >= self.end or self.text[at + i] != byte:
                raise self.wrong_byte(at + i)
        return at + len(word)

    def number(self, at: int) -> int:
        match = NUMBER.match(self.text, at, self.end)
        if not match:  # a minus without a digit after it
            raise self.wrong_byte(at + 1)
        stop = match.end()
        follows = self.text[stop:min(stop + 1, self.end)]
        if follows == b"." and match.group(1) is None and match.group(2) is None:
            raise self.wrong_byte(stop + 1)
        if follows in (b"e", b"E") and match.group(2) is None:
            sign = self.text[stop + 1:min(stop + 2, self.end)] in (b"+", b"-")
            raise self.wrong_byte(stop + 1 + sign)
        too_long = stop - at > MAX_NUMBER_CHARS
        exponent = match.group(2)
        if not too_long and exponent:
            too_long = abs(int(exponent)) > MAX_EXPONENT
        if too_long:
            self.tolerable("json-number", stop)
        return stop

    def string(self, at: int) -> int:
        """`at` is the opening quote; returns the place after the closing one."""
        match = SIMPLE_STRING.match(self.text, at, self.end)
        if match:
            return match.end()
        text, end = self.text, self.end
        at += 1
        while True:
            match = PLAIN.match(text, at, end)
            if match:
                at = match.end()
            if at >= end:
                raise self.wrong_byte(at)
            byte = text[at]
            if byte == 0x22:
                return at + 1
            if byte == 0x5C:
                at = self.escape(at)
            elif byte == 0:
                self.tolerable("json-nul", at)
                at += 1
            else:
                raise self.wrong_byte(at)

    def escape(self, at: int) -> int:
        """`at` is the backslash; returns the place after the escape (or the pair of escapes)."""
        text, end = self.text, self.end
        if at + 1 >= end:
            raise self.wrong_byte(at + 1)
        if text[at + 1] != 0x75:
            if text[at + 1] not in b'"\\/bfnrt':
                raise self.wrong_byte(at + 1)
            return at + 2
        match = HEX4.match(text, at + 2, end)
        if not match:
            bad = at + 2
            while bad < end and text[bad] in b"0123456789abcdefABCDEF":
                bad += 1
            raise self.wrong_byte(bad)
        code = int(match.group(), 16)
        stop = at + 6
        if code == 0:
            self.tolerable("json-nul", stop)
        elif 0xD800 <= code <= 0xDBFF:
            if LOW_SURROGATE.match(text, stop, end):
                return stop + 6
            self.tolerable("json-surrogate", stop)
        elif 0xDC00 <= code <= 0xDFFF:
            self.tolerable("json-surrogate", stop)
        return stop

    def scalar(self, at: int) -> int:
        if at >= self.end:
            raise self.wrong_byte(at)
        byte = self.text[at]
        if byte == 0x22:
            return self.string(at)
        if byte == 0x2D or 0x30 <= byte <= 0x39:
            return self.number(at)
        if byte == 0x74:
            return self.literal(b"true", at)
        if byte == 0x66:
            return self.literal(b"false", at)
        if byte == 0x6E:
            return self.literal(b"null", at)
        raise self.wrong_byte(at)

    def name(self, at: int) -> int:
        """A member's name and its colon; returns the place where its value may begin."""
        if at >= self.end or self.text[at] != 0x22:
            raise self.wrong_byte(at)
        at = self.blank(self.string(at))
        if at >= self.end or self.text[at] != 0x3A:
            raise self.wrong_byte(at)
        return self.blank(at + 1)

    def value(self, at: int, max_depth: int = MAX_DEPTH) -> int:
        """Scans one value that begins at `at` (no blank before it); returns the place after it."""
        text, end = self.text, self.end
        open_brackets: list[int] = []
        while True:
            byte = text[at] if at < end else -1
            if byte == 0x7B or byte == 0x5B:
                open_brackets.append(OBJECT if byte == 0x7B else ARRAY)
                if len(open_brackets) > max_depth:
                    self.tolerable("json-depth", at)
                at = self.blank(at + 1)
                if at < end and text[at] == (0x7D if byte == 0x7B else 0x5D):
                    open_brackets.pop()
                    at += 1
                else:
                    if byte == 0x7B:
                        at = self.name(at)
                    continue
            else:
                at = self.scalar(at)
            # A value has ended: close brackets, or find where the next value begins.
            while open_brackets:
                at = self.blank(at)
                byte = text[at] if at < end else -1
                if byte == 0x2C:
                    at = self.blank(at + 1)
                    if open_brackets[-1] == OBJECT:
                        at = self.name(at)
                    break
                if byte != (0x7D if open_brackets[-1] == OBJECT else 0x5D):
                    raise self.wrong_byte(at)
                open_brackets.pop()
                at += 1
            else:
                return at

    def only_blank_from(self, at: int) -> None:
        at = self.blank(at)
        if at < len(self.text):
            raise self.wrong_byte(at)


def first_fault(text: bytes) -> str | None:
    """The reason why `text` is not JSON by our rules, or None."""
    if text.startswith(b"\xef\xbb\xbf"):
        return "json-bom"
    scanner = Scanner(text)
    try:
        at = scanner.value(scanner.blank(0))
        scanner.only_blank_from(at)
    except Fault as fault:
        return fault.reason
    return None


def is_object(text: bytes) -> bool:
    """Of a text without fault: is it an object?"""
    return text[BLANK.match(text).end()] == 0x7B


def is_empty_object(text: bytes) -> bool:
    return EMPTY_OBJECT.fullmatch(text) is not None


def members(text: bytes, data_name: str | None = None) -> list[tuple[str, int, int, str | None]]:
    """The members of the object that `text` is: (name, where its value begins, ends, tolerated fault).

    A value named `data_name` has levels of its own, and a fault in it that leaves the rest readable is
    handed back; every other fault is raised.
    """
    if text.startswith(b"\xef\xbb\xbf"):
        raise Fault("json-bom", 0)
    scanner = Scanner(text)
    at = scanner.blank(0)
    if at >= scanner.end or text[at] != 0x7B:
        raise scanner.wrong_byte(at)
    at = scanner.blank(at + 1)
    found = []
    if at < scanner.end and text[at] == 0x7D:
        scanner.only_blank_from(at + 1)
        return found
    while True:
        begin = at
        at = scanner.name(at)
        name = unescape(text[begin:text.rindex(b":", begin, at)].rstrip(b" \t\n\r"))
        mine = name == data_name
        scanner.tolerated = [] if mine else None
        # Outside `data` the object itself is a level, and one more than in `data` is allowed.
        stop = scanner.value(at, MAX_DEPTH)
        found.append((name, at, stop, scanner.tolerated[0] if mine and scanner.tolerated else None))
        scanner.tolerated = None
        at = scanner.blank(stop)
        byte = text[at] if at < scanner.end else -1
        if byte == 0x7D:
            scanner.only_blank_from(at + 1)
            return found
        if byte != 0x2C:
            raise scanner.wrong_byte(at)
        at = scanner.blank(at + 1)


SHORT = {0x22: '"', 0x5C: "\\", 0x2F: "/", 0x62: "\b", 0x66: "\f", 0x6E: "\n", 0x72: "\r", 0x74: "\t"}


def unescape(literal: bytes) -> str:
    """The text that a JSON string without fault stands for (`literal` with its quotes)."""
    body = literal[1:-1]
    if b"\\" not in body:
        return body.decode("utf-8")
    out = []
    at = 0
    while at < len(body):
        slash = body.find(b"\\", at)
        if slash < 0:
            out.append(body[at:].decode("utf-8"))
            break
        out.append(body[at:slash].decode("utf-8"))
        if body[slash + 1] != 0x75:
            out.append(SHORT[body[slash + 1]])
            at = slash + 2
            continue
        code = int(body[slash + 2:slash + 6], 16)
        at = slash + 6
        if 0xD800 <= code <= 0xDBFF:
            code = 0x10000 + ((code - 0xD800) << 10) + int(body[at + 2:at + 6], 16) - 0xDC00
            at += 6
        out.append(chr(code))
    return "".join(out)
