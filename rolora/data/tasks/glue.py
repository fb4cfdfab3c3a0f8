"""GLUE: the columns, labels and metrics of its tasks, and the forms in which their files exist.

Source:
    Wang et al., GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding, ICLR 2019
    (arXiv 1804.07461), Table 1 for the tasks, their sizes and the metrics that the benchmark scores: Matthews correlation
    for CoLA; F1 and accuracy for MRPC and QQP; Pearson and Spearman correlation for STS-B; accuracy for the rest. Numbers
    of labels are those of the hub's ``nyu-mll/glue``, column names those of it and of GLUE's own tab-separated files.
    WNLI and the diagnostic set are left out, as in both papers.
"""

from __future__ import annotations

from rolora.data.tasks.base import VALIDATION, Form, KnownTask

REPOSITORY = "nyu-mll/glue"
"""GLUE on the hub."""

ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
SENTENCES = ("sentence1", "sentence2")
MNLI_FORMS = (Form(("premise", "hypothesis")), Form(SENTENCES, "gold_label"))

TASKS: dict[str, KnownTask] = {
    "cola": KnownTask(
        task="classification",
        forms=(Form(("sentence",)),),
        label_names=("unacceptable", "acceptable"),
        metrics=("matthews_correlation",),
        configuration="cola",
        header=("source", "label", "mark", "sentence"),
    ),
    "sst2": KnownTask(
        task="classification",
        forms=(Form(("sentence",)),),
        label_names=("negative", "positive"),
        metrics=("accuracy",),
        configuration="sst2",
    ),
    "mrpc": KnownTask(
        task="classification",
        forms=(Form(SENTENCES), Form(("#1 String", "#2 String"), "Quality")),
        label_names=("not_equivalent", "equivalent"),
        metrics=("f1", "accuracy"),
        configuration="mrpc",
    ),
    "stsb": KnownTask(
        task="regression",
        forms=(Form(SENTENCES), Form(SENTENCES, "score")),
        label_names=None,
        metrics=("pearson", "spearman"),
        configuration="stsb",
    ),
    "qqp": KnownTask(
        task="classification",
        forms=(Form(("question1", "question2")), Form(("question1", "question2"), "is_duplicate")),
        label_names=("not_duplicate", "duplicate"),
        metrics=("f1", "accuracy"),
        configuration="qqp",
        cut_rows=True,
    ),
    "mnli": KnownTask(
        task="classification",
        forms=MNLI_FORMS,
        label_names=NLI,
        metrics=("accuracy",),
        configuration="mnli",
        held_out=("validation_matched", "dev_matched", *VALIDATION),
    ),
    "mnli-mismatched": KnownTask(
        task="classification",
        forms=MNLI_FORMS,
        label_names=NLI,
        metrics=("accuracy",),
        configuration="mnli",
        held_out=("validation_mismatched", "dev_mismatched"),
    ),
    "qnli": KnownTask(
        task="classification",
        forms=(Form(("question", "sentence")),),
        label_names=ENTAILMENT,
        metrics=("accuracy",),
        configuration="qnli",
    ),
    "rte": KnownTask(
        task="classification",
        forms=(Form(SENTENCES),),
        label_names=ENTAILMENT,
        metrics=("accuracy",),
        configuration="rte",
    ),
}
"""The tasks by name; ``glue/`` and one of these is a hub name."""
