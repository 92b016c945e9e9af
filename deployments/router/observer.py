"""Where outcomes of routed requests go: into the analytics of this process, and into its experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.outcome import DecisionOutcome
from routing.catalogue import Catalogue
from routing.trials.analytics import Analytics
from routing.trials.experiments import Experiments
from routing.trials.running import TrialReport, Trials


class Observer:
    """Belongs to one event loop. Costs are those of the cards that the process has when it is asked; `live`
    are the experiments that requests take part in.
    """

    def __init__(
        self, experiments: Experiments, *, catalogue: Callable[[], Catalogue], clock: Callable[[], int]
    ) -> None:
        self.live = experiments
        self.analytics = Analytics()
        self.began_ns = clock()
        self._trials = Trials(experiments)
        self._catalogue = catalogue
        self._costs: tuple[Catalogue, Mapping[str, float]] | None = None

    def observe(self, outcome: DecisionOutcome) -> None:
        """Count a request that has ended. A shadow's counts for its experiment alone."""
        assigned = outcome.assignment
        if assigned is None or not assigned.shadow:
            self.analytics.observe(outcome)
        if assigned is not None:
            self._trials.observe(outcome, self._current_costs())

    def experiments(self) -> tuple[TrialReport, ...]:
        """How each experiment stands."""
        return self._trials.reports(self._current_costs())

    def _current_costs(self) -> Mapping[str, float]:
        catalogue = self._catalogue()
        if self._costs is None or self._costs[0] is not catalogue:
            costs = dict(zip(catalogue.keys, catalogue.cost.tolist(), strict=True))
            self._costs = catalogue, costs
        return self._costs[1]
