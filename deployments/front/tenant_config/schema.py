"""Every setting there is, as data. A name that is not here is refused, so that no typo sets nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from deployments.front.tenant_config.values import LONGEST_TEXT, Kind, accepts, expected
from models.errors import BadValue
from models.resources import MOST, UNITS
from models.tenant_config import OWN_LAYERS, Layer

_SHOWN: Final = 60
_TENANT: Final = frozenset({Layer.TENANT})
_BOTH: Final = OWN_LAYERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting. `set_by` are the layers of a tenant's own that may set it; the platform's may set all but
    secrets. A `bounding` one may be lowered by a tenant and by its users, and never raised.
    """

    name: str
    kind: Kind
    about: str
    default: Any = None
    minimum: float = 0
    maximum: float = LONGEST_TEXT
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    secret: bool = False
    bounding: bool = False
    set_by: frozenset[Layer] = _TENANT

    @property
    def expects(self) -> str:
        """What its values look like."""
        return expected(self.kind, self)

    def accepts(self, value: Any) -> bool:
        """Whether the value is of its kind and within its bounds."""
        return accepts(self.kind, self, value)

    def may_be_set_in(self, layer: Layer) -> bool:
        """Whether documents of this layer may hold it."""
        return layer in self.set_by if layer in OWN_LAYERS else not self.secret

    def check_layer(self, layer: Layer) -> None:
        """BadValue unless documents of this layer may hold the setting."""
        if not self.may_be_set_in(layer):
            whose = "a tenant or user" if self.secret else "the platform or the tenant"
            raise BadValue(f"{self.name} is set by {whose}, not in the layer `{layer}`", field=self.name)

    def check(self, layer: Layer, value: Any) -> None:
        """BadValue that names the setting, unless this layer may set it to this value.

        The value of a secret is never repeated.
        """
        self.check_layer(layer)
        if not self.accepts(value):
            was = "is not that" if self.secret else f"was {shown(value)}"
            raise BadValue(f"{self.name} {was}; expected {self.expects}", field=self.name)


def shown(value: Any) -> str:
    """A value in a message: short, and in plain characters whatever was sent."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def setting_of(name: str) -> Setting:
    """The setting of a name; BadValue for one that does not exist."""
    setting = SCHEMA.get(name)
    if setting is None:
        section = name.partition(".")[0] + "."
        known = ", ".join(item for item in SCHEMA if item.startswith(section))
        hint = f"; known there: {known}" if known else "; `hub config schema` lists all"
        plain = name if name.isascii() and name.isprintable() and len(name) <= _SHOWN else "config"
        raise BadValue(f"there is no setting {shown(name)}{hint}", field=plain)
    return setting


_Limit = partial(Setting, bounding=True)
_Risk = partial(Setting, bounding=True, set_by=_BOTH)
_Flag = partial(Setting, kind=Kind.FLAG, default=True, bounding=True)
_ALL: Final = (
    _Limit(
        name="limits.tenant_rate",
        kind=Kind.RATE,
        about="Calls of all users of the tenant together. The tier's rate unless set lower.",
    ),
    _Limit(
        name="limits.user_rate",
        kind=Kind.RATE,
        about="Calls of each user. The tier's rate unless set lower.",
    ),
    _Limit(
        name="limits.sockets",
        kind=Kind.INTEGER,
        maximum=100_000,
        about="Open streams of each user. The tier's number unless set lower.",
    ),
    *(
        _Limit(
            name=f"limits.{resource}",
            kind=Kind.INTEGER,
            maximum=MOST,
            about=f"How much the tenant may hold at a time, in {unit}. The tier's number unless set lower.",
        )
        for resource, unit in UNITS.items()
    ),
    _Risk(
        name="risk.scale",
        kind=Kind.NUMBER,
        default=1.0,
        maximum=10,
        about="Targets are multiplied by this.",
    ),
    _Risk(
        name="risk.max_fraction",
        kind=Kind.NUMBER,
        default=1.0,
        maximum=1,
        about="The largest share of an account that one target may ask for.",
    ),
    _Risk(
        name="risk.max_exposure",
        kind=Kind.NUMBER,
        maximum=100,
        about="The largest sum of what an account is asked to hold, in accounts; unset: no bound.",
    ),
    _Risk(
        name="risk.max_signals_per_minute",
        kind=Kind.INTEGER,
        minimum=1,
        maximum=600,
        about="How many signals of any 60 s ask for something; unset: no bound.",
    ),
    Setting(
        name="risk.blocked_symbols",
        kind=Kind.LIST,
        default=[],
        maximum=200,
        pattern="[A-Z0-9]{3,20}",
        set_by=_BOTH,
        about="Symbols for which no signal asks for anything.",
    ),
    _Flag(name="features.stream", about="Signals over the WebSocket."),
    _Flag(name="features.ensembles", about="Answers of ensembles of models."),
    _Flag(name="features.experiments", about="Taking part in experiments with profiles and models."),
    _Flag(name="features.event_history", about="The user's events, read back from the database."),
    Setting(
        name="notifications.email",
        kind=Kind.TEXT,
        minimum=3,
        maximum=254,
        pattern=r"[^@\s<>\"]{1,64}@[A-Za-z0-9.-]{1,189}",
        set_by=_BOTH,
        about="Where messages go.",
    ),
    Setting(
        name="notifications.on_halt",
        kind=Kind.BOOLEAN,
        default=True,
        set_by=_BOTH,
        about="A message when signals are halted or resumed.",
    ),
    Setting(
        name="notifications.on_limit",
        kind=Kind.BOOLEAN,
        default=True,
        set_by=_BOTH,
        about="A message when a limit of the tier comes near.",
    ),
    Setting(
        name="notifications.digest",
        kind=Kind.CHOICE,
        default="off",
        choices=("off", "daily", "weekly"),
        set_by=_BOTH,
        about="How often a summary of signals is sent.",
    ),
    Setting(
        name="trading.default_account",
        kind=Kind.TEXT,
        minimum=1,
        maximum=64,
        pattern="[A-Za-z0-9][A-Za-z0-9._:-]*",
        set_by=_BOTH,
        about="The account of a subscription that names none.",
    ),
    Setting(
        name="branding.display_name",
        kind=Kind.TEXT,
        minimum=1,
        maximum=120,
        about="What the tenant's people read as its name.",
    ),
    Setting(name="branding.logo_url", kind=Kind.URL, about="The picture that stands beside it."),
    Setting(
        name="mt5.server",
        kind=Kind.TEXT,
        minimum=1,
        maximum=120,
        set_by=_BOTH,
        about="The MetaTrader 5 server of the account.",
    ),
    Setting(
        name="mt5.login",
        kind=Kind.TEXT,
        minimum=1,
        maximum=20,
        pattern="[0-9]+",
        set_by=_BOTH,
        about="The number of the account there.",
    ),
    Setting(
        name="mt5.password",
        kind=Kind.TEXT,
        minimum=1,
        maximum=200,
        secret=True,
        set_by=_BOTH,
        about="Its password.",
    ),
    Setting(name="webhooks.url", kind=Kind.URL, about="Where the tenant's own service is told of events."),
    Setting(
        name="webhooks.signing_secret",
        kind=Kind.TEXT,
        minimum=16,
        maximum=200,
        secret=True,
        about="What those messages are signed with.",
    ),
)

SCHEMA: Final[Mapping[str, Setting]] = {setting.name: setting for setting in _ALL}
FEATURES: Final = tuple(setting.name for setting in _ALL if setting.kind is Kind.FLAG)
