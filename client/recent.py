"""A cache of the latest results."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Recent(Generic[Item]):
    """A least-recently-used cache. It is not safe to share between threads.

    Args:
        most: the largest sum of the sizes of cached items.
        size: returns the size of an item.
    """

    def __init__(self, *, most: int, size: Callable[[Item], int]) -> None:
        self._items: OrderedDict[Hashable, Item] = OrderedDict()
        self._most, self._size, self._kept = most, size, 0

    def __contains__(self, name: Hashable) -> bool:
        return name in self._items

    def __getitem__(self, name: Hashable) -> Item:
        self._items.move_to_end(name)
        return self._items[name]

    def keep(self, name: Hashable, item: Item) -> None:
        if name not in self._items:
            self._items[name] = item
            self._kept += self._size(item)
        while self._kept > self._most and len(self._items) > 1:
            self._kept -= self._size(self._items.popitem(last=False)[1])
