"""The next item is made in the background while the last one is worked on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import TypeVar

Item = TypeVar("Item")


class _End(Enum):
    END = "no more items"


def made_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items in the same order, each made by a thread of its own while the caller has the one before.

    One item is made ahead, never two. What goes wrong while an item is made is raised where the item would have come.
    A caller that stops early waits for the item that is being made, and no thread stays behind.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, items, _End.END)
        while not isinstance(item := coming.result(), _End):
            coming = thread.submit(next, items, _End.END)
            yield item
