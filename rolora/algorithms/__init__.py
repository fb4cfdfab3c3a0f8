"""Federated LoRA methods, one file each, as three pure functions on one layer."""

from rolora.algorithms.base import Algorithm, weighted_mean
from rolora.algorithms.fedavg_lora import FedAvgLoRA
from rolora.algorithms.ffa_lora import FFALoRA
from rolora.algorithms.flexlora import FlexLoRA
from rolora.algorithms.rolora import RoLoRA

ALGORITHMS: dict[str, type[Algorithm]] = {method.name: method for method in (FedAvgLoRA, FFALoRA, RoLoRA, FlexLoRA)}
"""Every method by the name that configs, records and figures use."""

__all__ = ["ALGORITHMS", "Algorithm", "FFALoRA", "FedAvgLoRA", "FlexLoRA", "RoLoRA", "weighted_mean"]
