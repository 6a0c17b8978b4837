"""What a soak has found, kept after each round so that a run can be stopped, resumed and cited."""
import json
from collections import Counter
from pathlib import Path


class Results:
    """{"seed", "rounds": {number: …}, "failures": […], "sums": …} in a JSON file; in memory alone where no file is named."""

    def __init__(self, path, seed):
        self.path, self.seed, self.rounds, self.failures = Path(path) if path else None, seed, {}, []
        if self.path and self.path.exists():
            found = json.loads(self.path.read_text())
            if found["seed"] != seed:
                raise SystemExit(f"{path} holds the rounds of seed {found['seed']}, not of {seed}")
            self.rounds, self.failures = {int(number): one for number, one in found["rounds"].items()}, found["failures"]

    def passed(self, one):
        self.rounds[one["round"]] = one
        for failure in self.failures:  # it was run again, after a mend or with better luck: the list keeps it
            failure["passed_later"] = failure.get("passed_later", False) or failure["round"] == one["round"]
        self.save()

    def failed(self, plan, error, trace, seconds):
        self.failures.append({"round": plan.number, "plan": str(plan), "error": str(error)[:4000], "trace": trace[-2000:], "seconds": round(seconds, 1)})
        self.save()

    def take(self, other):
        """The rounds of another run of the same seed."""
        self.rounds.update(other.rounds)
        self.failures += other.failures
        self.save()

    def sums(self):
        """What all passed rounds come to."""
        planned, struck, looked, handsets, total = Counter(), Counter(), Counter(), Counter(), Counter()
        outcomes = {}
        for number in sorted(self.rounds):
            one = self.rounds[number]
            for fault in one["faults"]:
                planned[fault["fault"]] += 1
                struck[fault["fault"]] += fault["struck"]
            for name, count in one["looked_at"].items():
                looked[name] += count
            handsets.update(one["handsets"])
            total.update({name: one[name] for name in ("handed_over", "acknowledged", "published_again", "sent_again")})
            outcomes[one["block"]] = one["log_outcomes"]  # of a log they grow: the last round's count
        logs = Counter()
        for one in outcomes.values():
            logs.update(one)
        return {"rounds": len(self.rounds), "failed_runs_of_rounds": len(self.failures), "logs": len(outcomes), **dict(total), "log_records": sum(logs.values()), "log_outcomes": dict(logs),
                "faults": {name: {"planned": planned[name], "struck": struck[name]} for name in sorted(planned)}, "looked_at": dict(looked), "handsets": dict(sorted(handsets.items()))}

    def save(self):
        if self.path is None:
            return
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps({"seed": self.seed, "sums": self.sums(), "failures": self.failures, "rounds": {str(number): self.rounds[number] for number in sorted(self.rounds)}},
                                      indent=1, ensure_ascii=False) + "\n")
        partial.replace(self.path)

    def say(self):
        """Prints the sums and the closing line; returns the exit status. A run without events, reads or faults has not passed."""
        sums, failed = self.sums(), sum(not failure.get("passed_later") for failure in self.failures)
        print(json.dumps(sums, indent=1, ensure_ascii=False))
        struck = sum(one["struck"] for one in sums["faults"].values())
        for what, count in (("events", sums.get("acknowledged", 0)), ("reads of handsets", sums["handsets"].get("reads", 0)), ("faults that struck", struck)):
            if not count:
                print(f"this run had no {what}")
                failed += 1
        for failure in self.failures:  # once more: of a long log only the end may be kept
            print(f"round {failure['round']}: FAILED: {failure['error'][:1500]}")
        print(f"{len(self.rounds)} passed, {failed} failed")
        return 1 if failed else 0
