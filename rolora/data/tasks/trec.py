"""TREC: question classification by the six coarse classes (Li and Roth, COLING 2002)."""

from __future__ import annotations

from rolora.data.tasks.base import Form, KnownTask

TASKS = {
    "trec": KnownTask(
        task="classification",
        forms=(Form(("question",)), Form(("text",), "coarse_label"), Form(("text",))),
        label_names=("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"),
        metrics=("accuracy",),
        hidden_test=False,
    )
}
"""Labels by name, or numbered in this order."""
