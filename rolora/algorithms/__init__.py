"""Federated LoRA methods, one file each, as three pure functions on one layer."""

from rolora.algorithms.base import Algorithm
from rolora.algorithms.baselines import Centralised, LocalOnly
from rolora.algorithms.fedavg_lora import FedAvgLoRA
from rolora.algorithms.fedex_lora import FedExLoRA
from rolora.algorithms.fedrot_lora import FedRotLoRA
from rolora.algorithms.fedsa_lora import FedSALoRA
from rolora.algorithms.fedsvd import FedSVD
from rolora.algorithms.ffa_lora import FFALoRA
from rolora.algorithms.flexlora import FlexLoRA
from rolora.algorithms.flora import FLoRA
from rolora.algorithms.hetlora import HetLoRA
from rolora.algorithms.la_lora import LALoRA
from rolora.algorithms.lora_fair import LoRAFair
from rolora.algorithms.means import weighted_mean
from rolora.algorithms.rolora import RoLoRA

ALGORITHMS: dict[str, type[Algorithm]] = {
    method.name: method
    for method in (
        FedAvgLoRA, FFALoRA, RoLoRA, FlexLoRA, FLoRA, FedExLoRA, FedSALoRA, FedSVD, FedRotLoRA, LoRAFair,
        HetLoRA, LALoRA,
        Centralised, LocalOnly,
    )
}  # fmt: skip
"""Every method by the name that configs, records and figures use."""

__all__ = ["ALGORITHMS", "Algorithm", "weighted_mean"]
