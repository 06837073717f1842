"""What approximate searches were measured to find of the ten best."""

from dataclasses import dataclass

# A search takes so many times the candidates that were measured to do: they are measured by some 150 queries, and at
# 1,000,000 tracks 400 other texts found 0.973 with what had found 0.992 of 48, and 0.993 with twice as many.
MARGIN = 2


@dataclass(frozen=True)
class Recall:
    """How many of a library's ten best tracks its searches find.

    Attributes:
        asked: the share that they are to find on average, 0 to 1.
        measured: the share that they were found to find, on tracks of the library and on texts about music, whichever
            is less; 1 where whole vectors of every track are compared with; None where it was not measured.
        candidates: how many tracks the graph is asked for (ef); None where every track is compared with.
        graph: where every track is compared with because the graph did not find enough: the most that it found.
    """

    asked: float
    measured: float | None = None
    candidates: int | None = None
    graph: float | None = None

    def __str__(self) -> str:
        if self.measured is None:
            return f"not measured ({self.asked:g} asked for)"
        if self.candidates is not None:
            return f"{self.measured:.3f} ({self.asked:g} asked for), of {self.candidates} candidates"
        if self.graph is None:
            return "1, by comparing with every track"
        return (
            f"{self.measured:.3f}, by comparing with every track: the graph finds {self.graph:.3f} at most, and "
            f"{self.asked:g} is asked for"
        )


@dataclass(frozen=True)
class Recalls:
    """The shares that searches of one graph were found to find.

    Attributes:
        by_candidates: by how many candidates they take (ef), ascending.
        of_all: where they compare with every vector, as far as the graph keeps it.
    """

    by_candidates: dict[int, float]
    of_all: float = 1.0

    def of(self, asked: float) -> Recall:
        """That of MARGIN times the fewest candidates that were measured to do, or of every vector."""
        for candidates, measured in self.by_candidates.items():
            if measured >= asked:
                return Recall(asked, measured, MARGIN * candidates)
        return Recall(asked, self.of_all, graph=max(self.by_candidates.values(), default=None))
