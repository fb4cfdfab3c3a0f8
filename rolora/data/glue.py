"""GLUE: the columns, labels and metrics of its tasks, and the forms in which their files exist.

Source:
    Wang et al., GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding, ICLR 2019
    (arXiv 1804.07461), Table 1 for the tasks, their sizes and the metrics that the benchmark scores: Matthews correlation
    for CoLA; F1 and accuracy for MRPC and QQP; Pearson and Spearman correlation for STS-B; accuracy for the rest. Numbers
    of labels are those of the hub's ``nyu-mll/glue``, column names those of it and of GLUE's own tab-separated files.
    WNLI and the diagnostic set are left out, as in both papers.
"""

from __future__ import annotations

from dataclasses import dataclass

VALIDATION = ("validation", "valid", "dev", "val")
"""What a validation split is usually called."""

REPOSITORY = "nyu-mll/glue"
"""GLUE on the hub."""


@dataclass(frozen=True)
class Form:
    """Under which names a file has texts and label."""

    text_columns: tuple[str, ...]
    label_column: str = "label"

    @property
    def columns(self) -> tuple[str, ...]:
        """Texts, then label."""
        return (*self.text_columns, self.label_column)


@dataclass(frozen=True)
class Benchmark:
    """A task whose columns, labels and metrics are known.

    Attributes:
        task: "classification" or "regression".
        forms: the names of its columns, in each form in which its files exist; the first is the hub's.
        label_names: in the order of their numbers; a file may have either. None for regression.
        metrics: its own, the first is the one that is selected by.
        configuration: of :data:`REPOSITORY`; None if it is not one of GLUE's.
        held_out: what its validation split may be called, on the hub and in a folder.
        header: the columns of a tab-separated file that comes without a header.
        hidden_test: the test labels are not public: a test file without labels is left out.
        cut_rows: its published file has rows that end early; they are left out and counted.
    """

    task: str
    forms: tuple[Form, ...]
    label_names: tuple[str, ...] | None
    metrics: tuple[str, ...]
    configuration: str | None = None
    held_out: tuple[str, ...] = VALIDATION
    header: tuple[str, ...] | None = None
    hidden_test: bool = True
    cut_rows: bool = False

    @property
    def outputs(self) -> int:
        """Of a head: one for each label, one for a number."""
        return len(self.label_names) if self.label_names else 1


ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
SENTENCES = ("sentence1", "sentence2")
MNLI_FORMS = (Form(("premise", "hypothesis")), Form(SENTENCES, "gold_label"))

GLUE: dict[str, Benchmark] = {
    "cola": Benchmark(
        task="classification",
        forms=(Form(("sentence",)),),
        label_names=("unacceptable", "acceptable"),
        metrics=("matthews_correlation",),
        configuration="cola",
        header=("source", "label", "mark", "sentence"),
    ),
    "sst2": Benchmark(
        task="classification",
        forms=(Form(("sentence",)),),
        label_names=("negative", "positive"),
        metrics=("accuracy",),
        configuration="sst2",
    ),
    "mrpc": Benchmark(
        task="classification",
        forms=(Form(SENTENCES), Form(("#1 String", "#2 String"), "Quality")),
        label_names=("not_equivalent", "equivalent"),
        metrics=("f1", "accuracy"),
        configuration="mrpc",
    ),
    "stsb": Benchmark(
        task="regression",
        forms=(Form(SENTENCES), Form(SENTENCES, "score")),
        label_names=None,
        metrics=("pearson", "spearman"),
        configuration="stsb",
    ),
    "qqp": Benchmark(
        task="classification",
        forms=(Form(("question1", "question2")), Form(("question1", "question2"), "is_duplicate")),
        label_names=("not_duplicate", "duplicate"),
        metrics=("f1", "accuracy"),
        configuration="qqp",
        cut_rows=True,
    ),
    "mnli": Benchmark(
        task="classification",
        forms=MNLI_FORMS,
        label_names=NLI,
        metrics=("accuracy",),
        configuration="mnli",
        held_out=("validation_matched", "dev_matched", *VALIDATION),
    ),
    "mnli-mismatched": Benchmark(
        task="classification",
        forms=MNLI_FORMS,
        label_names=NLI,
        metrics=("accuracy",),
        configuration="mnli",
        held_out=("validation_mismatched", "dev_mismatched"),
    ),
    "qnli": Benchmark(
        task="classification",
        forms=(Form(("question", "sentence")),),
        label_names=ENTAILMENT,
        metrics=("accuracy",),
        configuration="qnli",
    ),
    "rte": Benchmark(
        task="classification",
        forms=(Form(SENTENCES),),
        label_names=ENTAILMENT,
        metrics=("accuracy",),
        configuration="rte",
    ),
}
"""The tasks by name; ``glue/`` and one of these is a hub name."""
