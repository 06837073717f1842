"""What was found out last about files, so that it is not found out again."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Recent(Generic[Item]):
    """Items by names that change with their files; those that were asked for the longest ago go first.

    Args:
        most: sum of the sizes that are kept.
        size: of an item.
    """

    def __init__(self, *, most: int, size: Callable[[Item], int]) -> None:
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._most, self._size, self._kept = most, size, 0

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def __getitem__(self, name: str) -> Item:
        self._items.move_to_end(name)
        return self._items[name]

    def keep(self, name: str, item: Item) -> None:
        if name not in self._items:
            self._items[name] = item
            self._kept += self._size(item)
        while self._kept > self._most and len(self._items) > 1:
            self._kept -= self._size(self._items.popitem(last=False)[1])
