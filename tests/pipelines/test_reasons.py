"""Every reason for which a clip can be left out has a row in the documentation, and every row its reason."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pipelines
from pipelines.engine.worker import EXCEPTION, SYSTEM_ERROR
from pipelines.quality import verdict

ROOT = Path(pipelines.__path__[0])
MADE_BY = {"BadInput", "Skip", "Filtered", "Failed", "_require"}
"""What takes a reason as its first text."""


def reasons(source: str) -> Iterator[str]:
    """Texts that code gives as a reason, by place or by name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            made = isinstance(node.func, ast.Name) and node.func.id in MADE_BY
            named = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
            texts = [a.value for a in (*(node.args if made else ()), *named) if isinstance(a, ast.Constant)]
            yield from [text for text in texts if isinstance(text, str)][:1]


def documented() -> dict[str, str]:
    """Reason -> heading under which its row stands."""
    page = (ROOT.parent / "docs" / "datasets.md").read_text()
    found, heading = {}, ""
    for line in page.partition("## Why was it left out?")[2].splitlines():
        heading = line.split("**")[1] if line.startswith("**") else heading
        if line.startswith("| `"):
            found |= dict.fromkeys(re.findall(r"`(\w+)`", line.split("|")[1]), heading)
    return found


def test_every_reason_is_explained() -> None:
    judged = re.findall(r'^ {8}"(\w+)": ', inspect.getsource(verdict._reasons), re.MULTILINE)
    others = {reason for file in ROOT.rglob("*.py") for reason in reasons(file.read_text("utf-8"))}
    others |= {EXCEPTION, SYSTEM_ERROR}
    assert len(judged) >= 7
    assert len(others) > 40
    found = documented()
    assert set(judged) == {
        reason for reason, heading in found.items() if heading == "Rejected by the verdict."
    }
    assert others == found.keys() - set(judged)
