"""Sources of images: the packaged digits, idx files and their faults, the hub, and MNIST itself if present."""

from __future__ import annotations

import gzip
import importlib
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rolora.errors import InputError
from theory.nonlinear import images

MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"
TRAIN, TRAIN_LABELS = images.FOLDER_FILES["train"]
TEST, TEST_LABELS = images.FOLDER_FILES["test"]


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def tiny(num_train: int = 60, num_test: int = 20, side: int = 4) -> dict[str, np.ndarray]:
    """Random bytes as images; each label occurs equally often."""
    generator = np.random.Generator(np.random.Philox(2))
    return {
        TRAIN: generator.integers(256, size=(num_train, side, side), dtype=np.uint8),
        TRAIN_LABELS: np.arange(num_train, dtype=np.uint8) % 10,
        TEST: generator.integers(256, size=(num_test, side, side), dtype=np.uint8),
        TEST_LABELS: np.arange(num_test, dtype=np.uint8) % 10,
    }


def write(folder: Path, arrays: dict[str, np.ndarray], zipped: tuple[str, ...] = ()) -> Path:
    for name, array in arrays.items():
        if name in zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return folder


def refused(source: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        images.find(str(source))
    text = str(caught.value)
    assert "\n" not in text and "got" in text and "expected" in text
    return text


def test_the_digits_are_packaged_and_have_no_test_split() -> None:
    found = images.find("digits")
    assert found.pixels.shape == (1797, 64) and found.pixels.dtype == np.float64
    assert found.test is None and found.digest is None
    assert found.pixels.min() == 0 and found.pixels.max() == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_folder_of_idx_files_is_read_gzipped_or_not(tmp_path: Path, dtype: str) -> None:
    arrays = tiny()
    found = images.find(str(write(tmp_path, arrays, zipped=(TRAIN, TEST_LABELS))), dtype)
    assert found.pixels.shape == (80, 16) and found.pixels.dtype == dtype
    np.testing.assert_array_equal(found.test, np.arange(60, 80))
    np.testing.assert_array_equal(found.labels, np.concatenate([arrays[TRAIN_LABELS], arrays[TEST_LABELS]]))
    np.testing.assert_array_equal(
        found.pixels[60:], arrays[TEST].reshape(20, 16).astype(dtype) / np.dtype(dtype).type(255)
    )
    assert "60 training and 20 test images of 4 x 4 pixels" in found.name and "MNIST" not in found.name


def test_the_digest_is_of_the_content_and_not_of_the_packing(tmp_path: Path) -> None:
    arrays = tiny()
    plain, zipped, other = (tmp_path / name for name in ("plain", "zipped", "other"))
    for folder in (plain, zipped, other):
        folder.mkdir()
    changed = arrays | {TRAIN: arrays[TRAIN] ^ np.uint8(1)}
    digests = [
        images.find(str(folder)).digest
        for folder in (write(plain, arrays), write(zipped, arrays, tuple(arrays)), write(other, changed))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    assert "expected digits, hub, hub:OWNER/NAME, or a folder" in refused(tmp_path / "none")
    write(tmp_path, tiny())
    (tmp_path / TEST).unlink()
    assert f"{TEST} or {TEST}.gz" in refused(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (TRAIN, idx(np.zeros(60, np.uint8)), "magic number 2049, expected 2051"),
        (TRAIN_LABELS, idx(np.zeros((60, 4, 4), np.uint8)), "magic number 2051, expected 2049"),
        (TRAIN, b"\0\0\x0c\x03" + idx(tiny()[TRAIN])[4:], "magic number 3075, expected 2051"),
        (TRAIN, b"\x7fELF", "got 4 bytes, expected an idx file with a header of 16 bytes"),
        (TRAIN, idx(tiny()[TRAIN])[:-1], "got 959 bytes of data, expected 960 (60 x 4 x 4): it is cut short"),
        (TEST, idx(tiny()[TEST]) + b"\0", "got 321 bytes of data, expected 320 (20 x 4 x 4): it is too long"),
        (TEST, idx(np.zeros((0, 4, 4), np.uint8)), "got the sizes 0 x 4 x 4"),
        (TEST, idx(np.zeros((20, 5, 4), np.uint8)), "got images of 5 x 4 pixels, expected 4 x 4"),
        (TRAIN_LABELS, idx(np.arange(59, dtype=np.uint8) % 10), f"got 59 labels, expected 60, one for each image of {TRAIN}"),
        (TEST_LABELS, idx(np.arange(20, dtype=np.uint8)), "got the label 10, expected labels from 0 to 9"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    write(tmp_path, tiny())
    (tmp_path / name).write_bytes(content)
    text = refused(tmp_path)
    assert said in text and str(tmp_path / name) in text


@pytest.mark.parametrize("content", [b"plain", gzip.compress(idx(tiny()[TRAIN]))[:-9], b""])
def test_a_broken_gzip_file_is_refused(tmp_path: Path, content: bytes) -> None:
    arrays = tiny()
    write(tmp_path, {name: array for name, array in arrays.items() if name != TRAIN})
    (tmp_path / f"{TRAIN}.gz").write_bytes(content)
    assert str(tmp_path / f"{TRAIN}.gz") in refused(tmp_path)


def fake_hub(monkeypatch: pytest.MonkeyPatch, load_dataset: object) -> None:
    plain = importlib.import_module

    def import_module(name: str, package: str | None = None) -> object:
        return SimpleNamespace(load_dataset=load_dataset) if name == "datasets" else plain(name, package)

    monkeypatch.setattr(images.importlib, "import_module", import_module)


def rows(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, object]]:
    return {
        split: {"image": list(arrays[grey]), "label": arrays[labels].tolist()}
        for split, (grey, labels) in images.FOLDER_FILES.items()
    }


def test_the_hub_gives_the_same_images_as_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, asked = tiny(), []

    def load_dataset(name: str) -> dict[str, dict[str, object]]:
        asked.append(name)
        return rows(arrays)

    fake_hub(monkeypatch, load_dataset)
    found, local = images.find("hub:owner/name"), images.find(str(write(tmp_path, arrays)))
    assert asked == ["owner/name"] and "owner/name" in found.name
    assert found.digest == local.digest
    np.testing.assert_array_equal(found.pixels, local.pixels)
    np.testing.assert_array_equal(found.test, local.test)
    images.find("hub")
    assert asked[-1] == images.HUB_NAME


def test_a_hub_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> None:
        raise ConnectionError("no network\nand a long story")

    fake_hub(monkeypatch, offline)
    assert "no network" in refused("hub")
    fake_hub(monkeypatch, lambda name: {"train": rows(tiny())["train"]})
    assert "splits train and test" in refused("hub")
    coloured = rows(tiny() | {TRAIN: np.zeros((60, 4, 4, 3), np.uint8)})
    fake_hub(monkeypatch, lambda name: coloured)
    assert "expected rows of bytes" in refused("hub")
    fake_hub(monkeypatch, lambda name: rows(tiny() | {TEST_LABELS: np.full(20, 11, np.uint8)}))
    assert "got the label 11" in refused("hub")


def test_without_the_optional_package_the_hub_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, package: str | None = None) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(images.importlib, "import_module", absent)
    text = refused("hub")
    assert "datasets" in text and "not installed" in text


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs the four files of MNIST in ../shared/data/mnist")
def test_mnist_is_known_by_its_digest() -> None:
    found = images.find(str(MNIST), "float32")
    assert found.digest == images.MNIST_DIGEST and found.name.startswith("MNIST: 60,000 training and 10,000 test")
    assert found.pixels.shape == (70_000, 784) and found.pixels.dtype == np.float32
    assert found.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(found.labels[found.test]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
