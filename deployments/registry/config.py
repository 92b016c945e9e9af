"""What the registry needs: where the models are and where the log is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from messaging.config import KafkaConfig
from models.base import Frozen


class RegistryConfig(Frozen):
    """`repository` is the model repository's directory; `kafka` holds no secret, only references to some."""

    repository: str
    kafka: KafkaConfig
    num_cpus: Annotated[float, Field(ge=0)] = 0.1
