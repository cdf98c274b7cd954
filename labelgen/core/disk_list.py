"""A list whose items lie in a temporary file, so that thousands of brackets take no memory."""

from __future__ import annotations

import pickle
import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from labelgen.core.errors import UserError

Item = TypeVar("Item")


class _Spill:
    """A temporary file without a name, closed as soon as no list refers to it."""

    def __init__(self) -> None:
        # Not buffered: a full disk is an error of `write`, and no second one of `close`.
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        self._lock = threading.Lock()  # joblib asks for items from more than one thread
        weakref.finalize(self, self._file.close)

    def write(self, data: bytes) -> int:
        """Append bytes; return their position in the file."""
        rest = memoryview(data)
        with self._lock:
            start = self._file.seek(0, 2)
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError as e:
                reason = f"{tempfile.gettempdir()}: {e.strerror or e}"
                raise UserError(f"{reason}; mend that, then give the same command again") from e
        return start

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes of the file from position `start` on."""
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)


class DiskList(Sequence[Item]):
    """List whose items are pickled into a temporary file; memory holds only their positions in it.

    Ten thousand surveys as objects take more memory than the rest of a build. Every access
    unpickles a new copy of the item, so changing the copy does not change the list.

    Examples
    --------
    >>> squares = DiskList(n * n for n in range(5))
    >>> len(squares), squares[-1]
    (5, 16)
    >>> list(squares.select([3, 0]))
    [9, 0]
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._spill, self._starts, self._sizes = _Spill(), array("q"), array("q")
        for item in items:
            self.append(item)

    @staticmethod
    def ordered(pairs: Iterable[tuple[int, Item]]) -> DiskList[Item]:
        """A list of items that arrive in any order, each with its index.

        Examples
        --------
        >>> list(DiskList.ordered([(1, "b"), (2, "c"), (0, "a")]))
        ['a', 'b', 'c']
        """
        arrived, position = DiskList[Item](), dict[int, int]()
        for index, item in pairs:
            position[index] = len(arrived)
            arrived.append(item)
        return arrived.select(position[index] for index in range(len(position)))

    def append(self, item: Item) -> None:
        """Write an item behind the others."""
        data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        self._starts.append(self._spill.write(data))
        self._sizes.append(len(data))

    def select(self, indices: Iterable[int]) -> DiskList[Item]:
        """Return a list of the items with these indices, in this order. Both share one file."""
        selected, indices = DiskList[Item].__new__(DiskList), list(indices)
        selected._spill = self._spill
        selected._starts = array("q", (self._starts[i] for i in indices))
        selected._sizes = array("q", (self._sizes[i] for i in indices))
        return selected

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: Any) -> Any:
        data = self._spill.read(self._starts[index], self._sizes[index])
        return pickle.loads(data)  # written above: no other process can open the file
