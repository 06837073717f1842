"""`music-search completion`: scripts for shells."""

import argparse

from .command import Commands
from .output import print_json

SHELLS = ("bash", "zsh", "fish")
_FILES = {"CSV", "FILE", "FILE_OR_LIB", "LIB", "MODEL", "PATH", "TRACK"}  # metavars of arguments that may be paths


def declare_completion(commands: Commands) -> None:
    command = commands.add(
        "completion",
        completion,
        "print a script that lets a shell complete commands and options",
        "bash > ~/.local/share/bash-completion/completions/music-search",
        'zsh > "${fpath[1]}/_music-search"',
        "fish > ~/.config/fish/completions/music-search.fish",
        library=None,
    )
    command.add_argument("shell", choices=SHELLS)


def completion(options: argparse.Namespace) -> int:
    import shtab

    parser = options.parser
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        for action in command._actions:
            if action.metavar in _FILES:
                action.complete = shtab.FILE
    script = shtab.complete(parser, shell=options.shell)
    print_json({"shell": options.shell, "script": script}) if options.json else print(script)
    return 0
