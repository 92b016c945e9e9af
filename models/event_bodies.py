"""What user events say: one typed body for each topic of the founding documents.

Sizes are bounded field by field, numbers are finite, and money is decimal. Symbols are in the broker's own
spelling (`EURUSD.pro`): they are payload here, never part of an address.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from models.base import Frozen

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
BrokerSymbol = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._#+!&-]{0,31}$")]
Text = Annotated[str, StringConstraints(max_length=500)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{3,5}$")]
Money = Annotated[Decimal, Field(max_digits=20, decimal_places=8)]
Price = Annotated[float, Field(gt=0, le=1e12)]
Lots = Annotated[float, Field(gt=0, le=1e6)]
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
Ticket = Annotated[int, Field(ge=0, lt=2**63)]


class Body(Frozen):
    """Base of all bodies."""

    model_config = ConfigDict(allow_inf_nan=False)


class Side(StrEnum):
    """Of an order or a position."""

    BUY = "buy"
    SELL = "sell"


class AuthBody(Body):
    """How somebody came in, or did not. No addresses and no names: the log cannot forget them."""

    method: Literal["password", "oauth", "sso", "api_key", "mfa"]
    session: Name | None = None
    reason: Text | None = None


class SettingsBody(Body):
    """One whole document of settings: the last one is kept of each, so a part would replace the whole."""

    document: Name
    values: Annotated[dict[Name, bool | int | Number | Text | None], Field(max_length=200)]


class CommandBody(Body):
    """What a user tells a trading account to do."""

    account_id: Name
    command_id: Name
    symbol: BrokerSymbol | None = None
    side: Side | None = None
    volume: Lots | None = None
    price: Price | None = None
    stop_loss: Price | None = None
    take_profit: Price | None = None
    ticket: Ticket | None = None
    comment: Text | None = None


class TradeBody(Body):
    """What became of an order or a position at the broker."""

    account_id: Name
    ticket: Ticket
    symbol: BrokerSymbol
    side: Side
    volume: Lots
    price: Price | None = None
    profit: Money | None = None
    currency: Currency | None = None
    command_id: Name | None = None
    delivery_id: Name | None = None
    retcode: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    comment: Text | None = None


class Mt5StatusBody(Body):
    """How an account stands; the last one of each account is kept."""

    account_id: Name
    connected: bool
    balance: Money | None = None
    equity: Money | None = None
    margin: Money | None = None
    free_margin: Money | None = None
    currency: Currency | None = None
    server: Text | None = None


class RiskAlertBody(Body):
    """A bound that was reached, and what it was."""

    severity: Literal["info", "warning", "critical"]
    account_id: Name | None = None
    rule: Name
    value: Number | None = None
    limit: Number | None = None
    message: Text | None = None


class TransactionBody(Body):
    """Money that came, went or was charged."""

    account_id: Name
    reference: Name
    amount: Money
    currency: Currency
    comment: Text | None = None


class BacktestBody(Body):
    """A backtest, and its results once it has some."""

    backtest_id: Name
    strategy: Name
    symbols: Annotated[tuple[BrokerSymbol, ...], Field(max_length=50)] = ()
    from_ns: Annotated[int, Field(ge=0, lt=2**63)]
    to_ns: Annotated[int, Field(ge=0, lt=2**63)]
    results: Annotated[dict[Name, Number], Field(max_length=100)] = Field(default_factory=dict)
    comment: Text | None = None
