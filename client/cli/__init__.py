"""`music-search`: the library from a terminal."""

import os
import sys
from collections.abc import Sequence

from ..errors import MusicSearchError
from .parser import make_parser

_ERROR, _INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 something failed, 2 error, 130 interrupted."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the parent process has closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - it stays open
    options = make_parser().parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        _drop_output()
        return 0
    except OSError as exc:  # the disk is full, or the terminal gone
        _drop_output()
        print(f"music-search: {exc}", file=sys.stderr)
        return _ERROR
    except MusicSearchError as exc:
        print(f"music-search: {exc}", file=sys.stderr)
        return _ERROR
    except KeyboardInterrupt:
        print("music-search: interrupted; finished work is kept", file=sys.stderr)
        return _INTERRUPTED


def _drop_output() -> None:
    """Redirect stdout to /dev/null. Else Python would write the rest at its end, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
