"""Nothing that comes from outside is executed: no pickle, no torch.load, no eval, no code of a model's, no shell."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from rolora.errors import InputError
from rolora.experiment.loop import prepare
from tests.conftest import changed

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("rolora", "theory", "paper_figures", "notebooks")

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    "torch.load", "torch.save", "torch.hub.load", "torch.package", "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle",
    "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "subprocess.getoutput",
}  # fmt: skip
KEYWORDS = {
    "trust_remote_code": True,
    "allow_pickle": True,
    "shell": True,
    "weights_only": False,
    "use_safetensors": False,
}
"""Argument -> the value that is refused; anything but the opposite constant is."""

READERS = ("AutoModel", "AutoConfig", "AutoTokenizer", "reader", "_auto", "PeftModel")
"""What reads a folder that somebody else may have written."""


def faults(source):
    """What a module's text does that it must not, as (line, what)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module or ""]
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            found = [ast.unparse(node)]
        else:
            found = []
        for name in found:
            if name.partition(".")[0] in MODULES or name in ATTRIBUTES:
                yield node.lineno, name
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
                yield node.lineno, node.func.id
            for keyword in node.keywords:
                if keyword.arg in KEYWORDS:
                    value = getattr(keyword.value, "value", None)
                    if value is not (not KEYWORDS[keyword.arg]):
                        yield node.lineno, f"{keyword.arg}={ast.unparse(keyword.value)}"


def modules():
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_no_module_executes_what_comes_from_outside():
    found = {
        f"{path.relative_to(ROOT)}:{line}": what for path in modules() for line, what in faults(path.read_text("utf-8"))
    }
    assert found == {}
    assert len(modules()) > 150


def model_readers(source):
    """(line, what reads, its arguments) of every call that reads a model's weights from a folder or hub name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_pretrained":
            yield node.lineno, ast.unparse(node.func.value), {keyword.arg for keyword in node.keywords}


def test_weights_are_read_from_safetensors_and_a_models_own_code_is_never_run():
    """Of the packaged models, whose files come with packages of the lock, ``conversion`` reads the one format they have."""
    seen = 0
    for path in modules():
        if path.name in ("conversion.py", "packaged.py"):
            continue
        for line, reader, given in model_readers(path.read_text("utf-8")):
            place, seen = f"{path.relative_to(ROOT)}:{line}", seen + 1
            if reader.startswith(("AutoTokenizer", "AutoConfig")):
                assert "trust_remote_code" in given, place
            elif reader != "PeftModel":  # what it reads is looked at before
                assert "use_safetensors" in given, place
    assert seen >= 9


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "import numpy as np\nnp.load('x')",
        "eval('1')",
        "f(trust_remote_code=True)",
        "f(trust_remote_code=given)",
        "f(allow_pickle=True)",
        "subprocess.run('x', shell=True)",
        "import os\nos.system('x')",
    ],
)
def test_the_search_finds_what_it_looks_for(source):
    assert list(faults(source))


def test_a_model_whose_weights_are_a_pickle_is_refused_unread(table, tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").unlink()
    touched = tmp_path / "executed"
    # Protocol 0 by hand: this file may not use the module either. It stands for a call of pathlib.Path(...).touch().
    (folder / "pytorch_model.bin").write_bytes(f"cos\nsystem\n(S'touch {touched}'\ntR.".encode())
    with pytest.raises(InputError, match=r"model\.name: got") as refusal:
        prepare(changed(table, model__name=str(folder)))
    assert "\n" not in str(refusal.value)
    assert not touched.exists()


def test_a_model_that_brings_code_is_refused_unasked(table, tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    touched = tmp_path / "executed"
    config = (folder / "config.json").read_text().replace('"bert"', '"other"')
    (folder / "config.json").write_text(config.replace("{", '{"auto_map": {"AutoConfig": "code.Config"},', 1))
    (folder / "code.py").write_text(f"open({str(touched)!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(InputError, match=r"model\.name: got"):
        prepare(changed(table, model__name=str(folder)))
    assert not touched.exists()
