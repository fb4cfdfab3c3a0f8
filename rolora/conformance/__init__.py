"""The laws of federated LoRA as a kit, for the methods here and for anybody's aggregator."""

from rolora.conformance.laws import LAWS, Finding, examine
from rolora.conformance.probe import Adapter, Aggregated, Aggregator, Case, Probe
from rolora.conformance.subjects import SUBJECTS, load, of_method

__all__ = [
    "LAWS",
    "SUBJECTS",
    "Adapter",
    "Aggregated",
    "Aggregator",
    "Case",
    "Finding",
    "Probe",
    "examine",
    "load",
    "of_method",
]
