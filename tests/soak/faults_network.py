"""Faults of the network, by the two proxies that stand between every program of Keepsake's (handsets too) and the servers."""
from nemesis import Fault, fault

from harness.proxy import TO_CLIENT, TO_SERVER

PIECE, PAUSE_S = 400, 0.002


class NetworkFault(Fault):
    """One proxy, and what it counts before and after."""
    which = None

    @property
    def proxy(self):
        return self.world.proxies[self.which]

    def heal(self):
        self.proxy.go_on()
        self.proxy.admit()

    def end_connections(self):
        how = self.rng.choice(("cut", "reset"))
        before = self.proxy.counts()[how]
        self.round.publish_some()
        getattr(self.proxy, how)()
        ended = self.proxy.counts()[how] - before
        return f"{ended} connections {how}" if ended else None

    def hold(self):
        directions = self.rng.choice(((TO_SERVER,), (TO_CLIENT,), (TO_SERVER, TO_CLIENT)))
        count = self.proxy.open_connections()
        self.proxy.hold(*directions)
        return f"nothing moves {' and '.join(directions)} on {count} connections" if count else None

    def trickle(self):
        count = self.proxy.open_connections()
        self.proxy.slow(PAUSE_S, PIECE)
        return f"{count} connections get {PIECE} bytes at once" if count else None

    def refuse(self):
        self.proxy.refuse()
        ended = self.proxy.cut()
        return f"nobody listens; {ended} connections ended"


def between_all_and(server, which):
    """The faults that any server's connections may have. What is chosen by a seed depends on the order in which they are put into the catalogue."""
    for weight, lasts, what, strike in ((3, 0, "connections ended", NetworkFault.end_connections), (3, 1, "half-open", NetworkFault.hold),
                                        (2, 1, "a trickle", NetworkFault.trickle), (2, 1, "refused", NetworkFault.refuse)):
        fault(weight, which, lasts=(lasts,), trouble="servers")(type("NetworkFault", (NetworkFault,), {"name": f"network to {server}: {what}", "which": which, "strike": strike}))


between_all_and("postgresql", "postgres")


@fault(5, "postgres", lasts=(1,), trouble="servers", needs=("broker", "database", "gateway"))
class CommitTorn(NetworkFault):
    """The connection of a consumer breaks at its COMMIT: on the way there, delivered or not, or on the way back, so that nobody knows what happened."""
    name, which = "network to postgresql: broken at COMMIT", "postgres"

    def strike(self):
        self.made = self.proxy.strike(b"COMMIT", self.rng.choice((TO_SERVER, TO_CLIENT)), act=self.rng.choice(("reset", "cut", "orphan")), passing=self.rng.random() < 0.5,
                                      only=b"keepsake/consume\0", skip=self.rng.randrange(2))
        self.round.publish_some()
        self.round.struck[self] = False
        return None

    def heal(self):
        self.round.work_until(lambda: not self.made.left)  # what the segment brought shall be committed
        self.round.struck[self] = self.made.struck > 0
        self.round.proofs[self] = f"{self.made.act} at COMMIT {self.made.direction}, {'delivered' if self.made.passing else 'lost'}: {self.made.struck}"
        self.made.left = 0
        super().heal()


between_all_and("the broker", "broker")
