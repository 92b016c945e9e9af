"""What the tracker needs: the broker, and how outcomes count."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from messaging.config import KafkaConfig
from models.base import Frozen
from models.card import ModelName
from routing.evidence.rules import EvidenceRules


class JudgingConfig(Frozen):
    """`control` is the model that skill is measured against. Predictions are read every `read_s`, and not at
    the very append that a fan-out waits for; evidence is written every `publish_s`.
    """

    rules: EvidenceRules = EvidenceRules()
    control: ModelName = "naive"
    read_s: Annotated[float, Field(gt=0)] = 0.5
    publish_s: Annotated[float, Field(gt=0)] = 1.0


class TrackerConfig(Frozen):
    """The deployment: one tracker judges, any other waits to take over."""

    kafka: KafkaConfig
    judging: JudgingConfig = JudgingConfig()
    num_cpus: Annotated[float, Field(ge=0)] = 0.1
