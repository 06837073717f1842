"""Files that name labels or queries."""

from pathlib import Path

from ..errors import QueryError


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        QueryError: it cannot be read, or is not UTF-8.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as exc:
        raise QueryError(f"cannot read {path}: {exc}") from exc
