"""Changes or drops captions of a manifest; a row that loses all its captions is left out."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from train.data.manifest import Row


@dataclass(frozen=True)
class Edited:
    """The remaining rows, the numbers of captions that were checked, changed and dropped, and of rows left out."""

    rows: list[Row]
    captions: int
    changed: int
    dropped: int
    rows_dropped: int


def edit_captions(
    rows: Sequence[Row], edit: Callable[[Sequence[str]], Sequence[str]], *, sources: Collection[str]
) -> Edited:
    """Apply `edit` to all distinct captions of rows with these sources; other rows do not change.

    A row that never had captions stays.

    Args:
        edit: maps texts to the same number of texts; "" drops a text.
        sources: values of `Row.source`; "" means rows without a source.
    """
    texts = list(dict.fromkeys(text for row in rows if row.source in sources for text in row.captions))
    edited = dict(zip(texts, edit(texts), strict=True))
    kept, captions, changed, dropped = [], 0, 0, 0
    for row in rows:
        if row.source not in sources:
            kept.append(row)
            continue
        captions += len(row.captions)
        changed += sum(edited[text] not in ("", text) for text in row.captions)
        dropped += sum(not edited[text] for text in row.captions)
        left = tuple(dict.fromkeys(edited[text] for text in row.captions if edited[text]))
        if left or not row.captions:
            kept.append(replace(row, captions=left))
    return Edited(kept, captions, changed, dropped, len(rows) - len(kept))
