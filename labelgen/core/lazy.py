"""Thousands of brackets without their weight: sequences that make an item when it is asked for."""

from __future__ import annotations

import pickle
import tempfile
import threading
import weakref
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Shelf(Sequence[Item]):
    """Items in a file without a name, which is gone with them; memory holds where each lies."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._starts, self._sizes = array("q"), array("q")
        self._lock = threading.Lock()  # workers are handed items by more than one thread

    @staticmethod
    def of(items: Iterable[Item]) -> Shelf[Item]:
        """Items, in their order."""
        shelf = Shelf[Item]()
        for item in items:
            shelf.append(item)
        return shelf

    def put(self, i: int, item: Item) -> None:
        """Set an item; in the end there has to be one for every number from 0 on."""
        data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        with self._lock:
            for numbers in (self._starts, self._sizes):
                numbers.extend([0] * (i + 1 - len(numbers)))
            self._starts[i], self._sizes[i] = self._file.seek(0, 2), len(data)
            self._file.write(data)

    def append(self, item: Item) -> None:
        """Put an item behind the others."""
        self.put(len(self), item)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, i: Any) -> Any:
        with self._lock:
            self._file.seek(self._starts[i])
            data = self._file.read(self._sizes[i])
        return pickle.loads(data)  # ours: nobody else can open the file


class Each(Sequence[Result]):
    """What a function makes of each item of a sequence, anew whenever it is asked for."""

    def __init__(self, make: Callable[[Item], Result], items: Sequence[Item]) -> None:
        self._make, self._items = make, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, i: Any) -> Any:
        return self._make(self._items[i])
