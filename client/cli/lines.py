"""Text files that commands read."""

from pathlib import Path

from ..errors import QueryError


def read_lines(path: Path) -> list[str]:
    """The lines of a file without surrounding spaces. Empty lines are left out.

    Raises:
        QueryError: the file cannot be read, or is not UTF-8.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise QueryError(f"cannot read {path}: {exc}") from exc
    return [line.strip() for line in lines if line.strip()]
