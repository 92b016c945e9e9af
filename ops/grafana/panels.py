"""What the board shows, row by row: the questions an operator asks, each with its queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ops.grafana.queries import gauge, mean, quantile, rate, total


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and how its series are named."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph over time, or with `now` its last value; `text` says how to read it."""

    title: str
    text: str
    unit: str
    queries: tuple[Query, ...]
    now: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


def _quantiles(name: str, *by: str) -> tuple[Query, ...]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return tuple(Query(quantile(name, q, *by), f"{legend} p{q * 100:g}".lstrip()) for q in (0.5, 0.99))


_MET: Final = 'met="true"'
_DELIVERED: Final = 'stage="delivered"'
_FAILED: Final = 'status=~"5.."'

NOW: Final = Row(
    "Now",
    (
        Panel(
            "Signals a second",
            "Acknowledged by Kafka, abstains included.",
            "short",
            (Query(rate("hub_signals_total"), "signals"),),
            now=True,
        ),
        Panel(
            "Promises met",
            "Share of routed calls that answered within their deadline.",
            "percentunit",
            (
                Query(
                    f"({rate('hub_promise_met_total', where=_MET)} or vector(0))"
                    f" / {rate('hub_promise_met_total')}",
                    "met",
                ),
            ),
            now=True,
        ),
        Panel(
            "Undelivered in an hour",
            "Slots recorded as undelivered. Zero when all is well.",
            "short",
            (Query(total("hub_undelivered_total", window="1h"), "slots"),),
            now=True,
        ),
        Panel(
            "Tick to signal, p99",
            "From the tick that closed the bar to Kafka's acknowledgement of the signals.",
            "ms",
            (Query(quantile("hub_stage_ms", 0.99, where=_DELIVERED), "p99"),),
            now=True,
        ),
    ),
)

ROUTING: Final = Row(
    "Where requests go",
    (
        Panel(
            "Decisions by model",
            "What was picked. Refusals have model `none`.",
            "reqps",
            (Query(rate("hub_decisions_total", "model"), "{{model}}"),),
        ),
        Panel(
            "Decisions by profile and outcome",
            "`ok`, or the code of the typed refusal.",
            "reqps",
            (Query(rate("hub_decisions_total", "profile", "outcome"), "{{profile}} {{outcome}}"),),
        ),
        Panel(
            "Decision time",
            "Filter, score and pick, in this process.",
            "µs",
            _quantiles("hub_decision_us", "profile"),
        ),
        Panel(
            "Deadlines: promised and met",
            "The mean promised probability against the share that was met. Met below promised: the latency"
            " prediction is too bold.",
            "percentunit",
            (
                Query(mean("hub_p_meet", "profile"), "{{profile}} promised"),
                Query(
                    f"{rate('hub_promise_met_total', 'profile', where=_MET)} /"
                    f" {rate('hub_promise_met_total', 'profile')}",
                    "{{profile}} met",
                ),
            ),
        ),
        Panel(
            "Not admitted",
            "Shed before the call, by class and reason: more is asked than can be answered in time.",
            "reqps",
            (Query(rate("hub_shed_total", "priority", "reason"), "{{priority}} {{reason}}"),),
        ),
        Panel(
            "Hedges",
            "Second calls beside a late first one; at most a fiftieth of the calls.",
            "reqps",
            (Query(rate("hub_hedges_total", "profile"), "{{profile}}"),),
        ),
        Panel(
            "Wait for admission",
            "Time that requests of each class waited for a place before they were decided on.",
            "ms",
            _quantiles("hub_admission_wait_ms", "priority"),
        ),
        Panel(
            "Attempts by pool and outcome",
            "Each call has one attempt, and a second one elsewhere if a replica fails or refuses.",
            "reqps",
            (Query(rate("hub_route_attempts_total", "pool", "outcome"), "{{pool}} {{outcome}}"),),
        ),
        Panel(
            "Ejected replicas",
            "The most that any router process keeps out for errors.",
            "short",
            (Query(gauge("hub_ejected_replicas", "max", "pool"), "{{pool}}"),),
        ),
    ),
)

INFERENCE: Final = Row(
    "Inference",
    (
        Panel(
            "Service time by model",
            "In the replica, without waiting.",
            "ms",
            _quantiles("hub_inference_ms", "model"),
        ),
        Panel(
            "Waiting in a replica",
            "From arrival to the start of inference.",
            "ms",
            _quantiles("hub_inference_queue_ms", "pool"),
        ),
        Panel(
            "Catalogue version",
            "Offset of hub.models. Lines that stay apart: a process has stopped following the catalogue.",
            "short",
            (Query(gauge("hub_catalogue_version", "min", "room", "replica"), "{{room}} {{replica}}"),),
        ),
        Panel(
            "Registrations",
            "Models brought at run time, by what became of them: `registered`, or the code of the refusal.",
            "short",
            (Query(rate("hub_registrations_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            "Models of run time",
            "In the replica that has most of them. `cold`: loaded when asked for. `refused`: not signed by"
            " this hub, changed, or not there.",
            "short",
            (Query(gauge("hub_registered_models", "max", "pool", "state"), "{{pool}} {{state}}"),),
        ),
    ),
)

EVIDENCE: Final = Row(
    "How good the models are",
    (
        Panel(
            "Coverage, live",
            "Share of outcomes inside the intervals promised at each level. On the level: the promise holds.",
            "percentunit",
            (Query(gauge("hub_live_coverage", "max", "model", "level"), "{{model}} at {{level}}"),),
        ),
        Panel(
            "Skill, live",
            "Interval score against the control's, 0 is no better than it. `hub models evidence` has bounds.",
            "percentunit",
            (Query(gauge("hub_live_skill", "max", "model"), "{{model}}"),),
        ),
        Panel(
            "Forecasts judged",
            "Once their horizon has passed, of those that answered and of those asked beside them.",
            "short",
            (Query(rate("hub_outcomes_total", "model"), "{{model}}"),),
        ),
        Panel(
            "Forecasts asked for beside the answer",
            "`dropped`: bars close faster than everybody can be asked. `failed`: the model gave none.",
            "short",
            (Query(rate("hub_shadow_forecasts_total", "outcome"), "{{outcome}}"),),
        ),
    ),
)

MARKET: Final = Row(
    "From tick to signal",
    (
        Panel(
            "Ticks by outcome",
            "`lost` counts gaps in the sequence; `duplicate`, `stored` and `refused` ticks are dropped.",
            "short",
            (Query(rate("hub_ticks_total", "symbol", "outcome"), "{{symbol}} {{outcome}}"),),
        ),
        Panel(
            "Slots by outcome",
            "Due slots: predicted, or skipped with the reason.",
            "short",
            (Query(rate("hub_slots_total", "strategy", "outcome"), "{{strategy}} {{outcome}}"),),
        ),
        Panel(
            "From the tick to each stage",
            "Wall time since the tick that closed the bar. `acked`: the prediction is in Kafka;"
            " `delivered`: the signals are.",
            "ms",
            _quantiles("hub_stage_ms", "stage"),
        ),
        Panel(
            "Signals by kind",
            "Acknowledged by Kafka. An abstain is a signal.",
            "short",
            (Query(rate("hub_signals_total", "strategy", "kind"), "{{strategy}} {{kind}}"),),
        ),
        Panel(
            "Undelivered slots by reason",
            "Recorded in `user.signals`; nothing is dropped in silence.",
            "short",
            (Query(rate("hub_undelivered_total", "reason"), "{{reason}}"),),
        ),
        Panel(
            "Predictions not yet taken",
            "How far the worst fan-out worker is behind the log.",
            "short",
            (Query(gauge("hub_prediction_lag", "max", "room"), "{{room}}"),),
        ),
    ),
)

OWNERSHIP: Final = Row(
    "Who owns what",
    (
        Panel(
            "Owned partitions",
            "Below the topic's partition count for longer than a take-over: nobody serves the rest.",
            "short",
            (Query(gauge("hub_owned_partitions", "sum", "topic"), "{{topic}}"),),
        ),
        Panel(
            "Epochs",
            "Offset of the newest claim. It moves with the owner; steady climbing is two owners at odds.",
            "short",
            (Query(gauge("hub_epoch", "max", "topic", "partition"), "{{topic}} {{partition}}"),),
        ),
        Panel(
            "Appends by outcome",
            "`unknown`: no answer from the broker; the log is read back before anything else is written.",
            "short",
            (Query(rate("hub_append_total", "topic", "outcome"), "{{topic}} {{outcome}}"),),
        ),
        Panel(
            "Denied by a broker",
            "Operations that a principal may not do. Zero when all is well: somebody tries what is not"
            " theirs, or permissions do not fit this release (`hub topics acls`).",
            "ops",
            (Query(rate("hub_denied_total", "broker", "principal"), "{{broker}} {{principal}}"),),
        ),
        Panel(
            "Producer rebuilds",
            "A producer was thrown away after an unknown outcome.",
            "short",
            (Query(rate("hub_producer_rebuilds_total", "room"), "{{room}}"),),
        ),
        Panel(
            "User events",
            "`dropped`: a record whose key is a user's and whose body is not. Nobody should write such.",
            "short",
            (Query(rate("hub_user_events_total", "data_type", "outcome"), "{{data_type}} {{outcome}}"),),
        ),
        Panel(
            "User events moved to the database",
            "`stored` and `repeated` are well. `missed`: the log removed events before they were moved. All"
            " others were kept in quarantine, by reason: somebody writes what is not theirs.",
            "short",
            (Query(rate("hub_user_data_total", "data_type", "outcome"), "{{data_type}} {{outcome}}"),),
        ),
        Panel(
            "Usage and audit",
            "Reports of usage and what became of them; a `torn` head of an audit log: it was tampered with.",
            "short",
            (
                Query(rate("hub_reports_total", "topic", "outcome"), "reports {{topic}} {{outcome}}"),
                Query(rate("hub_usage_records_total", "topic", "outcome"), "{{topic}} {{outcome}}"),
                Query(rate("hub_denials_total", "outcome"), "denials {{outcome}}"),
                Query(rate("hub_audit_heads_total", "outcome"), "heads {{outcome}}"),
            ),
        ),
        Panel(
            "User data behind the log",
            "How old an event may be that is not in the database yet. It must stay far below the hot period.",
            "s",
            (Query(gauge("hub_user_data_behind_s", "min", "data_type"), "{{data_type}}"),),
        ),
        Panel(
            "Pages of user data",
            "`hit` comes from the fast store. `foreign` is somebody else's page under one's own key: none.",
            "short",
            (Query(rate("hub_user_data_cache_total", "outcome"), "{{outcome}}"),),
        ),
    ),
)

HTTP: Final = Row(
    "HTTP",
    (
        Panel(
            "Server errors",
            "Share of HTTP requests answered with 5xx.",
            "percentunit",
            (
                Query(
                    f"({rate('hub_requests_total', where=_FAILED)} or vector(0))"
                    f" / {rate('hub_requests_total')}",
                    "5xx",
                ),
            ),
        ),
        Panel(
            "Requests by route and status",
            "As the gateway answered them.",
            "reqps",
            (Query(rate("hub_requests_total", "route", "status"), "{{route}} {{status}}"),),
        ),
        Panel(
            "Request time by route",
            "In the gateway, inference included.",
            "ms",
            _quantiles("hub_request_ms", "route"),
        ),
    ),
)

STREAM: Final = Row(
    "Stream",
    (
        Panel(
            "Open sockets",
            "Of all replicas.",
            "short",
            (Query(gauge("hub_stream_sockets", "sum"), "sockets"),),
        ),
        Panel(
            "Frames by kind",
            "Signals, notes of what nobody may act on, and beats.",
            "short",
            (Query(rate("hub_stream_frames_total", "kind"), "{{kind}}"),),
        ),
        Panel(
            "Closed sockets by reason",
            "`client`: it left. `too_slow`: it was cut and comes back where it was.",
            "short",
            (Query(rate("hub_stream_closed_total", "reason"), "{{reason}}"),),
        ),
        Panel(
            "From the log to the frame",
            "Of live signals, by the broker's clock and the replica's.",
            "ms",
            _quantiles("hub_stream_lag_ms"),
        ),
    ),
)

ROWS: Final = (NOW, ROUTING, INFERENCE, EVIDENCE, MARKET, OWNERSHIP, STREAM, HTTP)
