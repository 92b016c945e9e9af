"""Scorers: preferences in [0, 1] among those that meet every requirement. The unions are the registry."""

from __future__ import annotations

from routing.scorers.completion import CompletionScorer
from routing.scorers.cost import CostScorer
from routing.scorers.skill import SkillScorer

TraitScorerPlugin = SkillScorer | CostScorer
LiveScorerPlugin = CompletionScorer
ScorerPlugin = TraitScorerPlugin | LiveScorerPlugin
