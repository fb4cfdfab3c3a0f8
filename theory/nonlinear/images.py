"""Small images of handwritten digits: the packaged ones, a folder in MNIST's idx format, or a data set of the hub."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from rolora.errors import InputError

NUM_CLASSES = 10
HUB_NAME = "ylecun/mnist"
MNIST_DIGEST = "c2069063c1105f2bf96266aef1ff68c6e13bdda7a54e37bf19c16f1db24efc83"
"""By which MNIST is known, wherever it comes from."""

FOLDER_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Split -> file of images, file of labels; either may be gzipped, with .gz after its name."""

SOURCES_IN_WORDS = f"digits, hub, hub:OWNER/NAME, or a folder with {', '.join(sum(FOLDER_FILES.values(), ()))} (or .gz)"
DIGITS_LARGEST, BYTE_LARGEST = 16.0, 255
"""The largest grey value of the packaged digits, and of a byte."""


@dataclass(frozen=True)
class Images:
    """Labelled images, training and test together.

    Args:
        name: what they are, for a record.
        pixels: grey values in [0, 1], one image a row.
        labels: 0 ... 9.
        test: the indices of the test images where the source has a split of its own, else None.
        digest: SHA-256 of the grey values and labels as bytes, training first; None for the packaged digits.
    """

    name: str
    pixels: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"]
    test: Int[np.ndarray, " m"] | None = None
    digest: str | None = None


def find(source: str, dtype: str = "float64") -> Images:
    """The images of a source.

    Args:
        source: "digits" (packaged with scikit-learn), "hub" or "hub:OWNER/NAME", or a folder with the four idx files.
        dtype: of the pixels, "float32" or "float64".

    Raises:
        InputError: there is no such source, or its files are not what their names say.

    Example:
        >>> find("digits").pixels.shape
        (1797, 64)
    """
    if source == "digits":
        return digits(dtype)
    if source == "hub" or source.startswith("hub:"):
        return from_hub(source.removeprefix("hub").removeprefix(":") or HUB_NAME, dtype)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise InputError(f"--images: got {source!r}, expected {SOURCES_IN_WORDS}; there is no such folder")
    return from_folder(folder, dtype)


def digits(dtype: str = "float64") -> Images:
    """scikit-learn's 1,797 digits of 8 x 8 pixels; they come without a test split."""
    # Imported here, so that checking claims does not wait for what only the simulations need.
    from sklearn.datasets import load_digits

    packaged = load_digits()
    pixels = (packaged.data / DIGITS_LARGEST).astype(dtype, copy=False)
    return Images(
        "scikit-learn handwritten digits, 1,797 images of 8 x 8 pixels", pixels, packaged.target.astype(np.int64)
    )


def from_folder(folder: Path, dtype: str = "float64") -> Images:
    """The four idx files of a folder, gzipped or not.

    Raises:
        InputError: a file is missing, or is not an idx file of bytes, or is cut short; images and labels differ in
            number, training and test images in size; a label is not a digit. The text names the file.
    """
    parts = {}
    for split, (image_file, label_file) in FOLDER_FILES.items():
        image_path, label_path = _find_file(folder, image_file), _find_file(folder, label_file)
        grey, labels = read_idx(image_path, 3), read_idx(label_path, 1)
        _check_labels(labels, str(label_path))
        if len(grey) != len(labels):
            raise InputError(
                f"{label_path}: got {len(labels):,} labels, expected {len(grey):,}, one for each image of {image_path.name}"
            )
        parts[split] = (grey, labels, str(image_path))
    return _joined("images from a folder of idx files", parts, dtype)


def from_hub(name: str = HUB_NAME, dtype: str = "float64") -> Images:
    """The splits "train" and "test" of a data set of the hub, with the columns "image" and "label".

    Args:
        name: owner and name.
        dtype: of the pixels.

    Raises:
        InputError: the optional package ``datasets`` is missing, or the hub cannot be reached or has no such images.
    """
    try:
        # By name: the package is optional, and this room must not depend on it.
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise InputError(
            f"--images: got hub ({name}), expected the package datasets, which is not installed: pip install 'rolora[hub]'"
        ) from None
    try:
        loaded = datasets.load_dataset(name)
        parts = {split: (*_hub_split(loaded[split]), f"{name}, {split}") for split in FOLDER_FILES}
    except Exception as error:  # the library raises a different type for each way in which this fails
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"--images: got hub ({name}), expected a data set that the hub serves here, with the splits train and test "
            f"of grey images and labels; {reason}"
        ) from None
    for _, labels, where in parts.values():
        _check_labels(labels, where)
    return _joined(f"{name} from the hub", parts, dtype)


def _hub_split(rows: Any) -> tuple[np.ndarray, np.ndarray]:
    grey = np.stack([np.asarray(image) for image in rows["image"]])
    if grey.ndim != 3 or grey.dtype != np.uint8:
        raise ValueError(f"got images of shape {grey.shape[1:]} and type {grey.dtype}, expected rows of bytes")
    return grey, np.asarray(rows["label"])


def _joined(name: str, parts: dict[str, tuple[np.ndarray, np.ndarray, str]], dtype: str) -> Images:
    (train, train_labels, _), (test, test_labels, where) = parts["train"], parts["test"]
    if train.shape[1:] != test.shape[1:]:
        raise InputError(f"{where}: got images of {_size(test)} pixels, expected {_size(train)}, as for training")
    num_train, num_test = len(train), len(test)
    labels = np.concatenate([train_labels, test_labels])
    digest = hashlib.sha256(train.tobytes() + test.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    pixels = np.empty((num_train + num_test, math.prod(train.shape[1:])), dtype)
    np.divide(train.reshape(num_train, -1), BYTE_LARGEST, out=pixels[:num_train], casting="same_kind", dtype=dtype)
    np.divide(test.reshape(num_test, -1), BYTE_LARGEST, out=pixels[num_train:], casting="same_kind", dtype=dtype)
    known = "MNIST" if digest == MNIST_DIGEST else name
    described = f"{known}: {num_train:,} training and {num_test:,} test images of {_size(train)} pixels"
    return Images(described, pixels, labels.astype(np.int64), np.arange(num_train, num_train + num_test), digest)


def _size(grey: UInt8[np.ndarray, "n rows columns"]) -> str:
    return f"{grey.shape[1]} x {grey.shape[2]}"


def _find_file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"--images: got the folder {folder}, expected {name} or {name}.gz in it; there is neither")


def read_idx(path: Path, num_axes: int) -> UInt8[np.ndarray, "..."]:
    """An array of bytes in the idx format: two zero bytes, type 8, the number of axes, their big-endian sizes, the data.

    Args:
        path: the file; one that ends in .gz is unpacked.
        num_axes: how many axes it must have: 3 for images, 1 for labels.

    Raises:
        InputError: the file cannot be read, is of another kind, or is shorter or longer than its header says.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        kind = "a whole gzip file" if path.suffix == ".gz" else "a file that can be read"
        raise InputError(f"{path}: got a file that fails to open ({error}), expected {kind}") from None
    header = 4 + 4 * num_axes
    if len(content) < header:
        raise InputError(f"{path}: got {len(content)} bytes, expected an idx file with a header of {header} bytes")
    magic, *sizes = struct.unpack(f">{1 + num_axes}I", content[:header])
    wanted = 0x800 + num_axes
    if magic != wanted:
        raise InputError(f"{path}: got the magic number {magic}, expected {wanted} (idx, bytes, {num_axes} axes)")
    shape = " x ".join(f"{size:,}" for size in sizes)
    if len(content) - header != math.prod(sizes):
        short = "cut short" if len(content) - header < math.prod(sizes) else "too long"
        raise InputError(
            f"{path}: got {len(content) - header:,} bytes of data, expected {math.prod(sizes):,} ({shape}): it is {short}"
        )
    if not math.prod(sizes):
        raise InputError(f"{path}: got the sizes {shape}, expected at least one entry")
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)


def _check_labels(labels: np.ndarray, where: str) -> None:
    outside = labels[(labels < 0) | (labels >= NUM_CLASSES)]
    if outside.size:
        raise InputError(f"{where}: got the label {outside[0]}, expected labels from 0 to {NUM_CLASSES - 1}")
