"""The names an application may rely on."""

import client
from client.errors import MusicSearchError


def test_all_is_sorted_and_complete() -> None:
    assert client.__all__ == sorted(client.__all__)
    assert all(hasattr(client, name) for name in client.__all__)


def test_every_error_is_public_and_in_one_tree() -> None:
    tree, todo = set(), [MusicSearchError]
    while todo:
        tree.add(todo[0])
        todo += todo.pop(0).__subclasses__()
    ours = {error for error in tree if error.__module__ == "client.errors"}
    assert {error.__name__ for error in ours} <= set(client.__all__)
    assert all(error.__doc__ for error in ours)
