"""libkeepsake as its users have it: installed, found by pkg-config, compiled against by a program that is not ours."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import BLOBS, CHANGES
from harness.log import unb64
from harness.program import ROOT
from oracle.murmur2 import partition_of

EXAMPLE = ROOT / "examples" / "gateway.c"
ROUTE = ROOT / "examples" / "route.c"


@pytest.fixture(scope="module")
def installed(run_folder):
    """The prefix of a fresh `make install`."""
    prefix = run_folder / "installed"
    done = subprocess.run(["make", "-s", "install", f"PREFIX={prefix}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    yield prefix
    shutil.rmtree(prefix, ignore_errors=True)


def pkg_config(prefix, *args):
    env = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
    return subprocess.run(["pkg-config", *args, "keepsake"], env=env, capture_output=True, text=True, check=True).stdout.split()


def compile_example(prefix, out, static, compiler="cc", source=EXAMPLE):
    flags = pkg_config(prefix, "--cflags")
    libs = pkg_config(prefix, "--static", "--libs") if static else pkg_config(prefix, "--libs")
    if static:
        libs = [f"-l:libkeepsake.a" if lib == "-lkeepsake" else lib for lib in libs]
    warnings = ["-std=c17", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
    subprocess.run([compiler, *warnings, *flags, "-o", str(out), str(source), *libs], check=True)
    return out


def run_example(program, prefix, brokers, text):
    env = {**os.environ, "LD_LIBRARY_PATH": str(prefix / "lib")}
    return subprocess.run([str(program), brokers], input=text, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_the_example_compiled_against_the_installed_library_saves_changes_and_a_photo(static, installed, keepsake, log, scratch):
    keepsake("init")
    program = compile_example(installed, scratch / "gateway", static)
    needed = subprocess.run(["readelf", "-d", str(program)], capture_output=True, text=True, check=True).stdout
    assert ("libkeepsake.so" in needed) is not static
    photo = scratch / "beach.jpg"
    photo.write_bytes(bytes(range(256)) * 4096)  # two chunks
    changes = [("put", "anna", "a1", str(n), "contact", f"c{n % 5}", json.dumps({"n": n, "name": "Łucja"}, ensure_ascii=False)) for n in range(1, 201)]
    changes += [("delete", "anna", "a1", "201", "contact", "c0"), ("put", "bert", "b1", "1", "note", "n1", "{broken"),
                ("photo", "anna", "a1", str(photo))]
    done = run_example(program, installed, log.brokers, "".join("\t".join(change) + "\n" for change in changes))
    assert done.returncode == 0, done.stderr
    saved = dict(re.findall(r"^saved (\S+) (\{.*\})$", done.stdout, re.M))
    assert len(saved) == 203, done.stdout[-2000:]
    assert re.search(r"^refused bert/b1/1 json-syntax: ", done.stdout, re.M)

    records = {(r["topic"], r["partition"], r["offset"]): r for r in log.dump() if r["key"] is not None}
    assert len(records) == 203
    for text in saved.values():
        receipt = json.loads(text)
        record = records[receipt["topic"], receipt["partition"], receipt["offset"]]
        headers = {name: unb64(value).decode() for name, value in record["headers"]}
        assert headers["ce_id"] == receipt["id"] and headers["ce_source"] == "/handsets/a1"
        assert receipt["revision"] == (1 << 48) + receipt["offset"]
    anna = [r for r in log.dump(topics=[CHANGES]) if r["key"] is not None]
    numbers = [int({n: unb64(v) for n, v in r["headers"]}["ce_sequence"]) for r in anna]
    assert numbers == list(range(1, 202)), "a user's changes stand in the order of publishing"
    assert unb64(anna[0]["value"]) == json.dumps({"n": 1, "name": "Łucja"}, ensure_ascii=False).encode()
    assert unb64(anna[-1]["value"]) == b"{}"
    chunks = [r for r in log.dump(topics=[BLOBS]) if r["key"] is not None]
    assert b"".join(unb64(r["value"]) for r in chunks) == photo.read_bytes()


def test_the_example_says_what_is_wrong_when_there_is_no_log_and_when_there_is_no_kafka(installed, log, scratch):
    program = compile_example(installed, scratch / "gateway", False)
    done = run_example(program, installed, log.brokers, "")
    assert done.returncode == 1 and "log-missing: the topic keepsake.changes does not exist" in done.stderr and "keepsake init" in done.stderr
    done = run_example(program, installed, "127.0.0.1:1", "")
    assert done.returncode == 1 and "kafka-unreachable" in done.stderr


def test_the_header_stands_alone_in_c_and_in_cxx(installed, scratch):
    source = scratch / "alone.c"
    source.write_text("#include <keepsake.h>\n"
                      "int main(void) { struct ks_change change = KS_CHANGE_INIT; struct ks_publisher_config config = KS_PUBLISHER_CONFIG_INIT;\n"
                      "  return change.sequence == -1 && config.brokers == NULL && ks_library_version()[0] ? 0 : 1; }\n")
    libs = pkg_config(installed, "--cflags", "--libs")
    for compiler in (["gcc", "-std=c99", "-pedantic"], ["clang", "-std=c17"], ["g++", "-x", "c++", "-std=c++11"]):
        if not shutil.which(compiler[0]):
            continue
        subprocess.run([*compiler, "-Wall", "-Wextra", "-Werror", str(source), "-x", "none", "-o", str(scratch / "alone"), *libs], check=True)
        subprocess.run([str(scratch / "alone")], env={**os.environ, "LD_LIBRARY_PATH": str(installed / "lib")}, check=True)


def test_the_library_shows_only_names_of_its_header_and_needs_no_libpq(installed):
    header = (installed / "include" / "keepsake.h").read_text()
    lines = [line.split() for line in _output("nm", "-D", "--defined-only", installed / "lib" / "libkeepsake.so").splitlines()]
    names = {fields[-1].split("@")[0] for fields in lines if fields[-2] != "A"}
    assert names and all(re.search(rf"\b{name}\(", header) for name in names), names
    assert all(name.startswith("ks_") for name in names)
    needed = _output("readelf", "-d", installed / "lib" / "libkeepsake.so")
    assert "librdkafka" in needed and "libpq" not in needed
    assert "SONAME" in needed
    archive = [line.split() for line in _output("nm", "--defined-only", "--extern-only", installed / "lib" / "libkeepsake.a").splitlines()]
    assert {fields[-1] for fields in archive if len(fields) == 3} == names
    assert not Path(installed / "include").joinpath("publisher.h").exists()


def _output(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_the_routing_example_names_the_database_of_each_person_as_murmur2_says(static, installed, scratch):
    program = compile_example(installed, scratch / "route", static, source=ROUTE)
    (scratch / "map").write_text("3-5 host=b password=x\n# a comment\n\n0-2   host=a  dbname='k s'\n6 postgresql://c/keepsake\n")
    names = [f"user-{n}" for n in range(500)] + ["å", "用户", "x" * 255, " "]
    env = {**os.environ, "LD_LIBRARY_PATH": str(installed / "lib")}

    def route(*args):
        return subprocess.run([str(program), *map(str, args)], env=env, capture_output=True, text=True, timeout=60, check=False)
    done = route(scratch / "map", *names)
    assert done.returncode == 0, done.stderr
    databases = ["host=a  dbname='k s'"] * 3 + ["host=b password=x"] * 3 + ["postgresql://c/keepsake"]
    assert done.stdout.splitlines() == [f"{name}\t{p} of 7\t{databases[p]}" for name in names for p in [partition_of(name.encode(), 7)]]
    refused = route(scratch / "map", "good", "", "bad\nname", "x" * 256)
    assert refused.returncode == 1 and refused.stderr.count("no user id") == 3 and len(refused.stdout.splitlines()) == 1
    assert route(scratch / "nowhere", "a").stderr.startswith("shard-map-unreadable: ")
    (scratch / "bad").write_text("0-2 secret\n4 secret\n")
    bad = route(scratch / "bad", "a")
    assert bad.returncode == 2 and bad.stderr.startswith("shard-map-invalid: ") and "partition 3 is in no range" in bad.stderr and "secret" not in bad.stderr
