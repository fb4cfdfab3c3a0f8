"""Every command in a fenced block of a README is run here, or a comment on the line before its block says why it is not.

``<!-- not run: REASON -->`` before a fence is that comment, ``<!-- file: NAME -->`` has a block written to a file first. A block in
sh, bash or console, or in no language that is named, holds commands; one in any other language does not. A run of a packaged
config is cut to its first round.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from rolora.config.reading import packaged_configs
from tests.tools import forked

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        *(f"{room}/README.md" for room in ("rolora", "theory", "paper_figures", "notebooks")),
    )
    if (ROOT / name).exists()
]
SHELLS = ("", "sh", "bash", "console")
MARK = re.compile(r"<!-- (not run|file): (\S.*?) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block: the first word after its fence, its text, and the kind and text of its mark."""

    language: str
    text: str
    mark: str
    argument: str

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command, without comments and prompts."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(document):
    before, language, text = "", None, []
    for line in document.splitlines():
        if language is None and line.startswith("```"):
            language, text = line.strip("` ").partition(" ")[0], []
            mark, argument = match.groups() if (match := MARK.fullmatch(before.strip())) else ("", "")
        elif language is not None and line.startswith("```"):
            yield Block(language, "\n".join(text) + "\n", mark, argument)
            language = None
        elif language is not None:
            text.append(line)
        before = line


def module_and_words(words):
    """Return the module that a command line starts and what it is given; None if it starts none of the project's.

    Example:
        >>> module_and_words([".venv/bin/python", "-m", "theory", "list"]), module_and_words(["make", "test"])
        (('theory', ['list']), None)
    """
    program, *rest = words
    program = program.removeprefix(".venv/bin/")
    if program == "rolora":
        return "rolora", rest
    return (rest[1], rest[2:]) if program in ("python", "python3") and rest[:1] == ["-m"] else None


def run_blocks(document, folder):
    """Write the files and run the commands of a document in a folder; return what was run.

    Raises:
        AssertionError: a command fails, or cannot be run here and has no mark.
    """
    commands = []
    for block in blocks(document):
        if block.mark == "file":
            path = folder / block.argument
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language in SHELLS and block.mark != "not run":
            for words in block.commands:
                command = module_and_words(words)
                assert command, f"{shlex.join(words)}: not run, and no mark before its block says why"
                module, options = command
                if module == "rolora" and options[0] == "run" and options[1] in packaged_configs():
                    options = [*options, "federation.rounds=1", "evaluation.every=1"]
                answer = forked.run(module, *options, cwd=folder)
                assert answer.returncode == 0, f"{shlex.join(words)}: {answer.stderr[-2000:]}"
                commands.append(words)
    return commands


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_of_a_document_runs_or_is_marked(name, tmp_path):
    run_blocks((ROOT / name).read_text("utf-8"), tmp_path)


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 200
    assert len(text.encode()) <= 16 * 1024


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "rolora/README.md"])
def test_no_document_lists_the_files(name):
    for block in blocks((ROOT / name).read_text("utf-8")):
        assert len(re.findall(r"\w+\.py\b", block.text)) <= 20


def test_what_troubleshooting_quotes_is_what_the_code_says():
    table = (ROOT / "rolora" / "README.md").read_text("utf-8").partition("## Troubleshooting")[2]
    quoted = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    code = "".join(path.read_text("utf-8") for path in (ROOT / "rolora").rglob("*.py"))
    assert len(quoted) > 5
    assert [text for text in quoted if text not in code] == []


DOCUMENT = """
<!-- file: words.txt -->
```text
two words
```
<!-- not run: no reason at all -->
```sh
make nothing
```
```python
nothing()
```
```sh
.venv/bin/python -m theory show \\
    saddle   # a comment
```
```console
$ rolora run quickstart --dry-run words.txt
error
```
"""


def test_the_search_finds_commands_files_and_marks(tmp_path):
    """A document that asserts its own reading: the last command must fail, as its override is no key=value."""
    *_, last = blocks(DOCUMENT)
    assert last.commands == [["rolora", "run", "quickstart", "--dry-run", "words.txt"]]
    with pytest.raises(AssertionError, match=r"words\.txt: error: "):
        run_blocks(DOCUMENT, tmp_path)
    assert (tmp_path / "words.txt").read_text() == "two words\n"
    before = DOCUMENT.replace("$ rolora", "$ # rolora")
    assert run_blocks(before, tmp_path) == [[".venv/bin/python", "-m", "theory", "show", "saddle"]]
    with pytest.raises(AssertionError, match="make nothing: not run, and no mark"):
        run_blocks(before.replace("<!-- not run: no reason at all -->", ""), tmp_path)
