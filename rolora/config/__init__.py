"""An experiment's config: frozen values read from TOML, checked, and named by their hash. No torch."""

from rolora.config.reading import check, locate, packaged_configs, read
from rolora.config.schema import Config, flatten
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
    "flatten",
    "locate",
    "optional",
    "packaged_configs",
    "read",
]
