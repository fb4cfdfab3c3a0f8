"""RoLoRA: federated LoRA fine-tuning that alternates the factors A and B (arXiv 2502.01755).

The pure core (adapter, keys, algorithms, federation, communication) runs on any array-API backend; everything that
touches torch, transformers or peft lives in the rooms named after what they do there (models, peft_boundary, engine).
"""

__version__ = "0.1.0"
