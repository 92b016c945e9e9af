"""What the registry needs: where the models are and where the log is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inference.confined.limits import Limits
from messaging.config import KafkaConfig
from models.base import Frozen
from models.card import ModelName
from models.secret import SecretRef
from routing.evidence.lifecycle import LifecyclePolicy


class RegistrationConfig(Frozen):
    """Registration at run time: `artefacts` is where they are kept (a directory that all nodes share, or an
    object store's URL), `signing_key` the key they are signed with.
    """

    artefacts: str
    signing_key: SecretRef
    limits: Limits = Limits()


class RegistryConfig(Frozen):
    """`repository` is the model repository's directory; `kafka` holds no secret, only references to some.
    Without `registration` models come from the repository alone. Models move through their life as
    `lifecycle` says; `control` is the one that skill is measured against.
    """

    repository: str
    kafka: KafkaConfig
    registration: RegistrationConfig | None = None
    lifecycle: LifecyclePolicy = LifecyclePolicy()
    control: ModelName = "naive"
    num_cpus: Annotated[float, Field(ge=0)] = 0.1
