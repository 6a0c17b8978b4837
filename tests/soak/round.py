"""One round: its plan is carried out on the world, everything is healed, everything is checked."""
import time

from checks import check
from nemesis import FAULTS
from world import LIMIT_S, wait_for

SOME = 15      # events that are handed over while a fault is at work on them
WORK_S = 5     # how long at most a fault may wait for what it is to strike
DWELL_S = 0.5  # how long at most a segment may take to come through before the next boundary; with servers away it comes through later


class Round:
    def __init__(self, world, ledger, gateways, fleet, plan, people):
        self.world, self.ledger, self.gateways, self.fleet, self.plan, self.people = world, ledger, gateways, fleet, plan, people
        self.open, self.proofs, self.struck, self.acts = [], {}, {}, {}
        self.index, self.pending, self.took = 0, [], []

    def run(self):
        begun = time.monotonic()
        self._man()
        before = self.ledger.handed, self.ledger.acknowledged, self.ledger.again, self.ledger.resent
        try:
            for index, segment in enumerate(self.plan.segments):
                self._heal([act for act in self.open if act[0].end <= index])
                self.index, self.pending = index, list(segment)
                for act in self.plan.acts:
                    if act.begin == index:
                        self._strike(act)
                self.publish_some(len(self.pending))
                self._dwell()
        finally:
            self._heal(list(self.open))
        self.world.calm_down()
        marks = [time.monotonic()]
        self.gateways.settle(self._tend)
        marks.append(time.monotonic())
        self.world.settle()
        marks.append(time.monotonic())
        looked, outcomes = check(self.world, self.ledger, self.fleet)
        marks.append(time.monotonic())
        self.took += [(name, round(end - begin, 1)) for name, begin, end in zip(("acknowledgements", "settling", "checks"), marks, marks[1:])]
        self.fleet.set_behind(False)
        for daemon in self.world.consumers:
            self.world.look_for_alarms(daemon)
        after = self.ledger.handed, self.ledger.acknowledged, self.ledger.again, self.ledger.resent
        handed, acknowledged, again, resent = (now - then for now, then in zip(after, before))
        return {"round": self.plan.number, "block": self.plan.block, "seconds": round(time.monotonic() - begun, 1), "handed_over": handed, "acknowledged": acknowledged, "published_again": again,
                "sent_again": resent, "took": [f"{name}: {seconds} s" for name, seconds in self.took if seconds >= 1], "looked_at": looked, "log_outcomes": outcomes, "faults": [{"fault": act.fault, "struck": bool(self.struck.get(one)), "proof": self.proofs.get(one)}
                                                                                               for act, one in self.acts.items()]}

    # --- what faults use

    def publish_some(self, count=SOME):
        """Hands over the next events of the segment."""
        for _ in range(min(count, len(self.pending))):
            event, by, again = self.pending.pop(0)
            event.resolve(self.fleet.revision_of)
            self.gateways.publish(event, by, again)
            if len(self.pending) % 8 == 0:
                self._tend()
                self.gateways.pump()
        self.gateways.pump()

    def work_until(self, fact):
        """Lets all go on for a while, until it is so, or all that was published is applied."""
        until, ends = time.monotonic() + WORK_S, sum(self.world.ends().values())

        def done():
            self._tend()
            self.gateways.pump()
            return fact() or time.monotonic() > until or sum(row[3] for row in self.world.positions() or () if row[2] == "none") >= ends
        wait_for(done, LIMIT_S, "the work goes on")

    def under(self, busy):
        return any(FAULTS[act.fault].busy == busy for act, _ in self.open)

    def settled_canaries(self):
        """Canaries of people who are busy in this round, applied, and published by nobody any more."""
        to_come = {event.id for event, _, _ in self.pending} | {event.id for segment in self.plan.segments[self.index + 1:] for event, _, _ in segment}
        to_come |= {event.id for event in (*self.gateways.produce.waiting, *self.gateways.python.waiting.values())}
        reached = {(topic, partition, kind): offset for topic, partition, kind, offset, _, _ in self.world.positions()}
        return [event for event in self.ledger.events.values() if event.canary and event.user not in self.plan.quiet and event.id not in to_come and event.acks
                and all(offset is not None and offset < reached[topic, partition, event.kind] for topic, partition, offset in event.acks)]

    # --- the course

    def _man(self):
        """As many consumers as the plan says."""
        world = self.world
        world.tend()
        while len(world.consumers) > self.plan.consumers:
            world.leave(world.consumers[-1])
        while len(world.consumers) < self.plan.consumers:
            world.start_consumer(self.plan.batch_events[len(world.consumers)])

    def _strike(self, act):
        kind = FAULTS[act.fault]
        one = kind(self, act.seed)
        self.acts[act] = one
        self.open.append((act, one))
        self.world.begin_trouble(kind.trouble)
        begun = time.monotonic()
        proof = one.strike()
        self.took.append((f"strike {act.fault}", round(time.monotonic() - begun, 1)))
        self.proofs.setdefault(one, proof)
        self.struck.setdefault(one, proof is not None)
        if act.end == act.begin:
            self._heal([(act, one)])

    def _heal(self, acts):
        """Servers first: what else is healed may need them."""
        for act, one in sorted(acts, key=lambda pair: ("broker", "postgres", "gateway", "consumer", "act", "database").index(FAULTS[pair[0].fault].busy)):
            self.open.remove((act, one))
            begun = time.monotonic()
            one.heal()
            self.took.append((f"heal {act.fault}", round(time.monotonic() - begun, 1)))
        if acts and all(FAULTS[act.fault].trouble == "quiet" for act, _ in self.open):
            self.world.calm_down()

    def _tend(self):
        self.world.tend()
        self.fleet.look()

    def _dwell(self):
        """Lets the segment come through, or at least work for a while."""
        until, ends = time.monotonic() + DWELL_S, None

        def through():
            nonlocal ends
            self._tend()
            if time.monotonic() > until:
                return True
            if self.gateways.pump() or self.under("broker") or self.under("postgres"):
                return False
            ends = ends or sum(self.world.ends().values())
            return sum(row[3] for row in self.world.positions() or () if row[2] == "none") >= ends

        wait_for(through, LIMIT_S, "the segment comes through")
