"""docs/operations.md has an entry for every stop and refusal that the programs can make, by its message.

The messages are read from the source: what ks_error_set says with an exit status that asks somebody to act, what consumers log
as warning or error, and the reasons that are written beside a stopped stream. In the page a message stands in `backquotes`, with
an example in the place of each %s and %d.
"""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operations.md"
FOLDERS = ["consumer", "core", "operator", "restorer", "producer"]
# Not usage (the message itself says what to type), not defects of ours, and what "cannot reach" is said of by its exit status.
EXITS = {"KS_EXIT_REFUSED", "KS_EXIT_LOST", "KS_EXIT_LOCKED", "KS_EXIT_NO_KAFKA", "KS_EXIT_NO_POSTGRES", "KS_EXIT_DIFFERENT", "KS_EXIT_INCONCLUSIVE",
         "KS_EXIT_PARTLY"}
CALL = re.compile(r"\b(ks_error_set|ks_log_error|ks_log)\(")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
CONVERSION = re.compile(r"%(?:-?\d*|\.\*|\.\d+|\*)*(?:hh|h|ll|l|z|j)?[sdiuxcfg]|%%")


def arguments(text, start):
    """The arguments of the call whose parenthesis opens before start, split at its own commas."""
    found, depth, piece, at = [], 0, "", start
    while True:
        c = text[at]
        if c == '"':
            string = STRING.match(text, at)
            piece += string.group(0)
            at = string.end()
            continue
        if c == ")" and depth == 0:
            return found + [piece.strip()]
        if c == "," and depth == 0:
            found.append(piece.strip())
            piece = ""
        else:
            depth += (c in "([{") - (c in ")]}")
            piece += c
        at += 1


def literals(argument):
    """The C string made of pieces, with PRId64 as %d; both of `which ? "one" : "other"`; nothing where it is no string."""
    pieces = re.sub(r"\bPRI[di]64\b", '"d"', argument)
    if STRING.sub("", pieces).strip():
        choice = re.fullmatch(r"\w+ \? (\".*\") : (\".*\")", pieces)
        return literals(choice.group(1)) + literals(choice.group(2)) if choice else []
    return ["".join(m.group(1) for m in STRING.finditer(pieces)).replace('\\"', '"').replace("\\n", "")]


def messages_of(name, text):
    for call in CALL.finditer(text):
        if call.group(1) == "ks_error_set" and text[max(0, call.start() - 5):call.start()].endswith("bool "):
            continue  # its definition
        args = arguments(text, call.end())
        if call.group(1) == "ks_error_set" and len(args) > 3 and EXITS & set(re.findall(r"KS_EXIT_\w+", args[2])):
            yield from literals(args[3])
        elif name.startswith("consumer/") and args[0] in ("KS_LOG_WARNING", "KS_LOG_ERROR"):
            yield from literals(args[1])
    if name.startswith("consumer/"):  # why a stream stands stopped
        for reason in re.finditer(r'(?:snprintf\(reason, sizeof reason, |stop_reason = )((?:"(?:[^"\\]|\\.)*"|\s|PRId64)+)', text):
            yield from literals(reason.group(1))


def all_messages():
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.c")):
            name = str(path.relative_to(ROOT))
            for message in messages_of(name, path.read_text()):
                # what is put together elsewhere ("%s: %s") says nothing that could be looked for
                if len(re.sub(r"[^a-z]", "", CONVERSION.sub("", message))) >= 7:
                    found.setdefault(message, name)
    return found


MESSAGES = all_messages()


def test_messages_are_found_in_every_program():
    assert len(MESSAGES) > 60
    assert {name.split("/")[0] for name in MESSAGES.values()} == set(FOLDERS)
    assert "another rebuild of this database is at work" in MESSAGES
    assert "gap: offsets %d to %d of the log are missing" in MESSAGES


def pattern_of(message):
    return re.compile(".*".join(re.escape(part) for part in CONVERSION.split(message)))


def quoted(text):
    """What stands in `backquotes`, or in ``two of them`` where it has some itself."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    doubled = re.findall(r"``(.+?)``", text)
    return doubled + re.findall(r"`([^`]+)`", re.sub(r"``.+?``", "", text))


def test_the_operators_page_has_an_entry_for_every_message():
    entries = quoted(PAGE.read_text())
    missing = [f"{name}: {message}" for message, name in sorted(MESSAGES.items(), key=lambda pair: pair[::-1])
               if not any(pattern_of(message).fullmatch(entry) for entry in entries)]
    assert not missing, "docs/operations.md does not have:\n" + "\n".join(missing)


def warnings_of_core():
    """What consumers log through modules of core; not each of these needs an entry."""
    for path in sorted((ROOT / "core").glob("*.c")):
        text = path.read_text()
        for call in CALL.finditer(text):
            args = arguments(text, call.end())
            if call.group(1) != "ks_error_set" and args[0] in ("KS_LOG_WARNING", "KS_LOG_ERROR"):
                yield from literals(args[1])


def test_the_operators_page_has_no_entry_for_what_nobody_says():
    section = PAGE.read_text().split("## What it says, and what to do")[1].split("\n## ")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert len(first_cells) > 40
    patterns = [pattern_of(message) for message in [*MESSAGES, *warnings_of_core()]]
    stale = [entry for cell in first_cells for entry in quoted(cell) if not any(p.fullmatch(entry) for p in patterns)]
    assert not stale, "no program says:\n" + "\n".join(stale)


def test_the_readme_names_tests_of_the_promises_that_exist():
    named = set(re.findall(r"`(test_promise_\w+)`", (ROOT / "README.md").read_text()))
    there = set(re.findall(r"^def (test_promise_\w+)", (ROOT / "tests" / "e2e" / "test_promises.py").read_text(), re.M))
    assert {name.split("_")[2] for name in named} == set("123456")
    assert named == there
