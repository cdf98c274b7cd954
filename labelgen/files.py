"""Files that are there whole or not at all: pictures out, radiance in and out, atomic writes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from labelgen.arrays import Array, Bytes, Codes, Float
from labelgen.errors import Rejected, UserError
from labelgen.raw import MOST_BYTES, RAW_SUFFIXES, check_size
from labelgen.response import mu_law

IMAGE_SUFFIXES = frozenset(
    {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".avif", ".heic", ".heif", ".hif"}
    | RAW_SUFFIXES
)


BLOCK = 2**17
"""Bytes of a file that are digested at once: they stay in the cache."""
HEAD_BYTES, RUN = 2**16, 64
"""Where the size of a Radiance file stands, and how many values two bytes of it can stand for."""
RESOLUTION = re.compile(rb"^#\?.*?\n[-+]Y (\d{1,7}) [-+]X (\d{1,7})\n", re.DOTALL)


def kind_of_file(path: Path) -> str:
    """Kind of a file by its suffix, of which some kinds have two: "jpg", "tif", "png", ..."""
    suffix = path.suffix.lower().lstrip(".")
    return {"jpeg": "jpg", "tiff": "tif"}.get(suffix, suffix)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 2 before 10; names that differ at all have different keys."""
    parts = re.findall(r"(\d+)|(\D+)", name)
    keys = [(0, int(digits), "") if digits else (1, 0, text.lower()) for digits, text in parts]
    return [*keys, (-1, 0, name)]


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest, block = hashlib.sha256(), bytearray(BLOCK)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(memoryview(block)[:count])
    return digest.hexdigest()


def key_of(text: str) -> str:
    """What stands for a text, of any length and with any characters, in the name of a file."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def sync(path: Path) -> None:
    """Force a file or a folder to disk, so that a power cut can't undo what follows."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def let_go(file: int) -> None:
    """Begin to bring an open file to disk, and forget what is there: nobody reads it again soon.

    Then there is little left to wait for when it is done, and the machine's cache of files has
    room for what is read.
    """
    if hasattr(os, "posix_fadvise"):  # not on macOS nor Windows
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def check_new(path: Path) -> None:
    """Refuse to write over something, before the work for it is done.

    Raises
    ------
    UserError
        There is something already.
    """
    if path.exists():
        raise UserError(f"{path}: exists; remove it or give another name")


def check_parent(path: Path) -> None:
    """Refuse a name in a folder that is not there.

    Raises
    ------
    UserError
        It is in none.
    """
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder; make it first")


def check_room(folder: Path, needed: int, remedy: str = "take another disk") -> None:
    """Refuse to begin what may not fit a disk.

    Raises
    ------
    UserError
        Fewer bytes are free than may be needed.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 1e9:.1f} GB may be needed and {free / 1e9:.1f} GB are free; "
            f"{remedy}"
        )


def beside(path: Path) -> Path:
    """A name beside a file, for what is to become it.

    No other process has the same: a worker that outlives a killed build may still be writing.
    """
    return path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def publish(temporary: Path, final: Path) -> None:
    """Give a finished file its name: sync, rename, sync the folder."""
    sync(temporary)
    temporary.replace(final)
    sync(final.parent)


def take(lock: int) -> bool:
    """Hold the lock of an open file until it is closed, which the system does for who dies.

    Returns
    -------
    bool
        False if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it, so that it is never half there.

    Raises
    ------
    OSError
        It can't be; with the name of the file.
    """
    temporary = beside(path)
    try:
        temporary.write_bytes(data)
        publish(temporary, path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise OSError(e.errno, e.strerror, str(path)) from e


def write_through(path: Path, data: bytes) -> None:
    """Write a file of a folder that is nobody's yet, through to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write JSON (keys in order of insertion) atomically; a tenth of the time if not indented."""
    write_bytes(path, (json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode())


def png(image: Codes) -> bytes:
    """A (H, W) or (H, W, 3) RGB image, uint8 or uint16, as PNG."""
    bgr: Array = image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
    ok, data = cv2.imencode(".png", bgr)
    if not ok:
        raise UserError(f"a picture of {bgr.shape[1]} x {bgr.shape[0]} px can't be encoded as PNG")
    return data.tobytes()


def write_png(path: Path, image: Bytes) -> None:
    """Write a (H, W) or (H, W, 3) RGB uint8 image as PNG."""
    write_bytes(path, png(image))


def read_hdr(path: Path) -> Float:
    """Read a Radiance or OpenEXR file as (H, W, 3) float32 linear RGB.

    Raises
    ------
    Rejected
        The file is missing, damaged, too large or not finite; or it is OpenEXR and the library
        for that is not installed.
    """
    if not path.is_file():
        raise Rejected(f"{path.name}: not found")
    radiance = _read_exr(path) if path.suffix.lower() == ".exr" else _read_radiance(path)
    if not np.isfinite(radiance).all():
        raise Rejected(f"{path.name}: not finite")
    return radiance


def _read_radiance(path: Path) -> Float:
    if path.stat().st_size > MOST_BYTES:
        raise Rejected(f"{path.name}: larger than {MOST_BYTES >> 30} GiB")
    data = np.fromfile(path, np.uint8)
    said = RESOLUTION.search(data[:HEAD_BYTES].tobytes())
    try:
        if said is None:
            raise Rejected("cannot be decoded as a Radiance image")
        height, width = int(said[1]), int(said[2])
        check_size(height, width)
        if 4 * height * width > RUN * len(data):
            raise Rejected(f"claims {width}x{height} px, more than its {len(data)} bytes can hold")
    except Rejected as e:
        raise Rejected(f"{path.name}: {e}") from e
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        bgr = None
    if bgr is None or bgr.ndim != 3:
        raise Rejected(f"{path.name}: cannot be decoded as a Radiance image")
    return np.ascontiguousarray(bgr[..., 2::-1], np.float32)


def _read_exr(path: Path) -> Float:
    """Red, green and blue of an OpenEXR file; other channels are left out."""
    try:
        import OpenEXR
    except ImportError as e:
        raise Rejected(f"{path.name}: OpenEXR is missing: pip install 'labelgen[raw]'") from e
    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            for part in file.parts:  # all of which are decoded, and all of their channels
                (left, top), (right, bottom) = part.header["dataWindow"]
                fours = -(-len(part.header["channels"]) // 4) * len(file.parts)
                check_size(int(bottom) - int(top) + 1, (int(right) - int(left) + 1) * fours)
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = file.channels()
            planes = [np.asarray(channels[c].pixels, np.float32) for c in ("R", "G", "B")]
    except Rejected as e:
        raise Rejected(f"{path.name}: {e}") from e
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as e:
        raise Rejected(f"{path.name}: cannot be decoded as OpenEXR with R, G and B") from e
    return np.dstack(planes)


def write_hdr(path: Path, radiance: Float) -> None:
    """Write a Radiance file (`hdr`)."""
    write_bytes(path, hdr(radiance))


def hdr(radiance: Float) -> bytes:
    """A picture as Radiance RGBE, mantissas rounded.

    OpenCV's writer truncates them, which darkens the picture by 0.4 % of the largest channel.

    Parameters
    ----------
    radiance : (H, W, 3) float32
        Linear RGB, finite; negative values become 0.
    """
    rgb = np.maximum(radiance, 0).astype(np.float64)
    # The exponent is of the largest channel after rounding: 255.7 / 256 carries to the next power.
    peak = rgb.max(-1) * (1 + 0.5 / 256)
    _, exponent = np.frexp(peak)
    exponent = np.maximum(exponent, -127)
    mantissa = np.clip(np.rint(np.ldexp(rgb, 8 - exponent[..., None])), 0, 255)
    lit = mantissa.max(-1) > 0
    rgbe = np.concatenate([mantissa, np.where(lit, exponent + 128, 0)[..., None]], -1)
    header = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {rgb.shape[0]} +X {rgb.shape[1]}\n"
    return header.encode() + rgbe.astype(np.uint8).tobytes()


def write_exr(path: Path, radiance: Float) -> None:
    """Write an OpenEXR file of halves, losslessly compressed.

    Parameters
    ----------
    path : Path
        Where to write.
    radiance : (H, W, 3) float32
        Linear RGB, finite.

    Raises
    ------
    UserError
        The library OpenEXR is missing.
    """
    try:
        import OpenEXR
    except ImportError:
        raise UserError(f"{path}: OpenEXR is missing: pip install 'labelgen[raw]'") from None
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    pixels = np.ascontiguousarray(radiance, np.float16)
    temporary = beside(path)
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        file.write(str(temporary))
    publish(temporary, path)


def tone_mapped(radiance: Float) -> Bytes:
    """(H, W, 3) float32 radiance as uint8 RGB to look at: mu-law of what is at most 1."""
    return np.rint(255 * mu_law(np.clip(radiance, 0, 1))).astype(np.uint8)
