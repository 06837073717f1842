"""A language model of characters: n-grams with Witten-Bell's interpolation."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from math import log

from singing.alphabet import CHARACTERS

ORDER = 8  # a character and the 7 before it: about a word and the end of the one before


class CharacterModel:
    """Probability of a character, given the characters before it.

    Let a history h be followed n times by t different characters, and c times by the character in question. Then the
    probability is (c + t p) / (n + t), where p is the probability after h without its first character (Witten and Bell
    1991, method C). For the empty history, p is that of a uniform choice from `CHARACTERS`, so nothing is impossible.

    Args:
        texts: lines of `plain_text`; empty ones are left out. The model puts a space before and after each line.
        order: characters of an n-gram, 1 or more.

    Raises:
        ValueError: the order is below 1, or there is no text.

    >>> model = CharacterModel(["la la la"], order=3)
    >>> model.log_probability("a", after="l") > model.log_probability("b", after="l")
    True
    """

    def __init__(self, texts: Iterable[str], *, order: int = ORDER) -> None:
        if order < 1:
            raise ValueError(f"the order is {order}; expected 1 or more characters")
        self.order = order
        self._followers: dict[str, Counter[str]] = defaultdict(Counter)
        lines = [f" {text} " for text in texts if text]
        for length in range(order):
            # The space before a line is only a history.
            first = max(1, length)
            seen = Counter(line[i - length : i + 1] for line in lines for i in range(first, len(line)))
            for gram, count in seen.items():
                self._followers[gram[:-1]][gram[-1]] = count
        if not self._followers:
            raise ValueError("there is no text to learn from; give at least one line of words")
        self._totals = {history: followers.total() for history, followers in self._followers.items()}
        self._known: dict[tuple[str, str], float] = {}

    def log_probability(self, character: str, *, after: str) -> float:
        """Natural logarithm of the probability of `character` in a line that begins with `after`."""
        # A line begins with a space, so the history of its first character is one.
        history = f" {after}"[1 - self.order :] if self.order > 1 else ""
        known = self._known.get((history, character))
        if known is None:
            known = self._known[history, character] = log(self._probability(character, history))
        return known

    def _probability(self, character: str, history: str) -> float:
        probability = 1 / len(CHARACTERS)
        for start in range(len(history), -1, -1):
            followers = self._followers.get(history[start:])
            if followers is None:
                break  # no longer history was seen either
            kinds = len(followers)
            probability = (followers[character] + kinds * probability) / (self._totals[history[start:]] + kinds)
        return probability
