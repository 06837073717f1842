"""Python in a process of its own, which finds the modules that this one finds."""

import json
import sys

_FIND = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1))\n"


def can_start_python() -> bool:
    """False where there is no interpreter, or an application that is frozen into one file would start itself."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def python_command(program: str, *arguments: str) -> list[str]:
    """The command that runs these lines of Python; they find the arguments in `sys.argv` from 1 on."""
    places = json.dumps([place for place in sys.path if isinstance(place, str)])
    return [sys.executable, "-P", "-c", _FIND + program, places, *arguments]
