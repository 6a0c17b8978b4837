#!/usr/bin/python3
"""Puts the results of several soaks together: report.py RESULTS.json… writes tests/soak/results.json (sums, for machines) and tests/soak/RESULTS.md (for
people). What was found and mended stands in tests/soak/findings.json, by hand."""
import argparse
import json
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent


def together(files):
    runs, sums, faults, outcomes, looked, handsets, failures = [], Counter(), {}, Counter(), Counter(), Counter(), []
    for file in files:
        found = json.loads(Path(file).read_text())
        one = found["sums"]
        runs.append({"seed": found["seed"], "rounds": one["rounds"], "logs": one["logs"]})
        sums.update({name: one.get(name, 0) for name in ("rounds", "logs", "handed_over", "acknowledged", "published_again", "sent_again", "log_records")})
        for name, count in one["faults"].items():
            mine = faults.setdefault(name, {"planned": 0, "struck": 0})
            mine["planned"] += count["planned"]
            mine["struck"] += count["struck"]
        for total, name in ((outcomes, "log_outcomes"), (looked, "looked_at"), (handsets, "handsets")):
            total.update(one[name])
        failures += [{"seed": found["seed"], "round": failure["round"], "error": failure["error"][:300], "passed_later": failure.get("passed_later", False)} for failure in found["failures"]]
    return {"runs": runs, **dict(sums), "faults": dict(sorted(faults.items())), "log_outcomes": dict(outcomes), "looked_at": dict(looked), "handsets": dict(sorted(handsets.items())),
            "rounds_that_failed": failures, "findings": json.loads((HERE / "findings.json").read_text())}


def page(found):
    def number(count):
        return f"{count:,}"

    lines = ["# What the soak has seen", "", "Made by `tests/soak/report.py` from the results of the runs below; the same for machines: [results.json](results.json). What a round is: [README.md](README.md).", "",
             f"**{number(found['rounds'])} rounds passed** on {number(found['logs'])} logs: " + ", ".join(f"seed {run['seed']}: {run['rounds']}" for run in found["runs"]) + ".", "",
             "| | |", "|---|---:|",
             f"| publications handed to the gateways | {number(found['handed_over'])} |", f"| of these once more by the other gateway | {number(found['published_again'])} |",
             f"| sent again because a gateway had died without a receipt | {number(found['sent_again'])} |", f"| acknowledged | {number(found['acknowledged'])} |",
             f"| records in the logs | {number(found['log_records'])} |"]
    lines += [f"| … {name} | {number(count)} |" for name, count in found["log_outcomes"].items()]
    reads = found["handsets"]
    lines += [f"| reads of handsets while faults were at work | {number(reads.get('reads', 0))} |", f"| … of new handsets, held against what others had been told | {number(reads.get('new handsets compared', 0))} |"]
    lines += [f"| answers *{name.split()[1]}* | {number(count)} |" for name, count in reads.items() if name.startswith("answer ")]
    lines += [f"| no answer at all (*unknown*, never *empty*) | {number(sum(count for name, count in reads.items() if name.startswith('unreachable ')))} |"]
    lines += [f"| looked at in checks: {name} | {number(count)} |" for name, count in found["looked_at"].items()]
    lines += ["", "## Faults", "", "Struck: proved from outside (a process gone or stopped, sessions gone, generations raised, connections ended by the proxy, rows gone). The others found nothing to strike.", "",
              "| fault | planned | struck |", "|---|---:|---:|"]
    lines += [f"| {name} | {number(count['planned'])} | {number(count['struck'])} |" for name, count in found["faults"].items()]
    lines += ["", "## Findings in Keepsake", "", "| found | cause | mended | test that failed before |", "|---|---|---|---|"]
    lines += [f"| {one['found']} | {one['cause']} | {one['mended']} | {one['test']} |" for one in found["findings"]["keepsake"]]
    if found["findings"]["open"]:
        lines += ["", "## Not explained", "", *(f"- {text}" for text in found["findings"]["open"])]
    lines += ["", "## Findings in the soak itself", ""]
    lines += [f"- {text}" for text in found["findings"]["soak"]]
    if found["rounds_that_failed"]:
        lines += ["", "## Rounds that failed", "", "All of them, also those that passed after a mend; a failed round ends its log, and the rounds after it in that log were not run.", ""]
        lines += [f"- seed {one['seed']}, round {one['round']}{' (passed later)' if one['passed_later'] else ''}: {' '.join(one['error'].split())[:200]}" for one in found["rounds_that_failed"]]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+")
    found = together(parser.parse_args().results)
    (HERE / "results.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (HERE / "RESULTS.md").write_text(page(found))
    print(f"{found['rounds']} rounds")


if __name__ == "__main__":
    main()
