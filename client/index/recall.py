"""Measured recall of approximate search, among the ten best tracks."""

from dataclasses import dataclass

# A search takes this many times the candidates (ef) that reached the asked recall, because only some 150 queries
# measured it. At 1,000,000 tracks, the ef that reached 0.992 on 48 texts reached 0.973 on 400 other texts. Twice that
# ef reached 0.993.
MARGIN = 2


@dataclass(frozen=True)
class Recall:
    """How many of the ten best tracks of a library its searches find.

    Attributes:
        asked: the recall that searches should reach on average, 0 to 1.
        measured: the recall measured with tracks of the library and with texts about music, the lower of the two. 1 if
            the whole vectors of all tracks are compared; None if it was not measured.
        candidates: how many candidates the graph search takes (ef); None if all tracks are compared.
        graph: the best recall of the graph, if it was too low and all tracks are compared instead.
    """

    asked: float
    measured: float | None = None
    candidates: int | None = None
    graph: float | None = None

    def __str__(self) -> str:
        if self.measured is None:
            return f"not measured (target {self.asked:g})"
        if self.candidates is not None:
            return f"{self.measured:.3f} (target {self.asked:g}), with {self.candidates} candidates"
        if self.graph is None:
            return "1 (exact search)"
        return (
            f"{self.measured:.3f} (exact search, because the graph reaches only {self.graph:.3f} and the target is "
            f"{self.asked:g})"
        )


@dataclass(frozen=True)
class Recalls:
    """The measured recall of searches with one graph.

    Attributes:
        by_candidates: recall by number of candidates (ef), in ascending order.
        of_all: recall when every vector is compared, in the reduced form that the graph keeps.
    """

    by_candidates: dict[int, float]
    of_all: float = 1.0

    def of(self, asked: float) -> Recall:
        """The `Recall` with MARGIN times the fewest candidates that reached `asked`, else with all vectors."""
        for candidates, measured in self.by_candidates.items():
            if measured >= asked:
                return Recall(asked, measured, MARGIN * candidates)
        return Recall(asked, self.of_all, graph=max(self.by_candidates.values(), default=None))
