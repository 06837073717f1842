"""Start Python in another process that finds the same modules as this one."""

import json
import sys

_FIND = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1))\n"


def can_start_python() -> bool:
    """False without an interpreter, or in a frozen application, which would start itself."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def python_command(program: str, *arguments: str) -> list[str]:
    """The command that runs these lines of Python. They find the arguments in `sys.argv` from index 1."""
    places = json.dumps([place for place in sys.path if isinstance(place, str)])
    return [sys.executable, "-P", "-c", _FIND + program, places, *arguments]
