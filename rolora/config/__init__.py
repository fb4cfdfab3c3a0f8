"""What an experiment is: frozen values read from TOML, checked, and named by their hash. No torch."""

from rolora.config.reading import Config, check, read
from rolora.config.sections import (
    DataConfig,
    EvaluationConfig,
    FederationConfig,
    LoraConfig,
    ModelConfig,
    PrivacyConfig,
    RuntimeConfig,
    Section,
    ServerConfig,
    TrainingConfig,
    optional,
)

__all__ = [
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "FederationConfig",
    "LoraConfig",
    "ModelConfig",
    "PrivacyConfig",
    "RuntimeConfig",
    "Section",
    "ServerConfig",
    "TrainingConfig",
    "check",
    "optional",
    "read",
]
