from pathlib import Path

import h5py
import numpy as np
import pytest

from labelgen.dataset.fletcher32 import has_valid_checksum, with_checksum


@pytest.mark.parametrize("value", [None, 0, 1, 254, 255])
@pytest.mark.parametrize("size", [1, 2, 3, 511, 512, 513, 1 << 17, 300_001])
def test_the_checksum_is_the_one_of_hdf5(tmp_path: Path, size: int, value: int | None) -> None:
    """Of noise, and of equal bytes: their sums can be multiples of the modulus."""
    noise = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)
    data = noise if value is None else np.full(size, value, np.uint8)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=data, chunks=(size,), fletcher32=True)
        file.flush()
        _, stored = file["x"].id.read_direct_chunk((0,))
    assert stored == with_checksum(data.tobytes())
    assert has_valid_checksum(stored)
    for at in (0, size - 1, size + 1):
        assert not has_valid_checksum(stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :])


def test_the_checksum_of_a_large_chunk_does_not_overflow() -> None:
    words = 1 << 25
    first, second = (0xFFFE * n % 65535 for n in (words, words * (words + 1) // 2))
    stored = with_checksum(b"\xff\xfe" * words)
    assert stored[-4:] == (second << 16 | first).to_bytes(4, "little")
