"""What became of forecasts, from `hub.predictions` alone: a later record has the price at the horizon."""

from signals.outcomes.resolver import Resolver, TrialSeries, Unjudged, mid_of

__all__ = ["Resolver", "TrialSeries", "Unjudged", "mid_of"]
