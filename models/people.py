"""People: the users of a tenant, and how they are invited."""

from __future__ import annotations

import re
from random import Random
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from models.access import Role
from models.base import Frozen

Login = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,98}[a-z0-9]$"),
    BeforeValidator(lambda value: value.strip().lower() if isinstance(value, str) else value),
]
"""The user's own word for itself within the tenant; an e-mail address will do."""
PersonName = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]{1,64}@[^@\s]{1,190}$", max_length=254)]
Password = Annotated[str, StringConstraints(min_length=12, max_length=128)]
ProfileKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
ProfileValue = bool | int | float | Annotated[str, StringConstraints(max_length=500)] | None
Profile = Annotated[dict[ProfileKey, ProfileValue], Field(max_length=50)]


_ISSUED: Final = re.compile(r"u-[0-9a-f]{24}\Z")


def new_user_id(rng: Random) -> str:
    """An id that no other user of any tenant has."""
    return f"u-{rng.getrandbits(96):024x}"


def issued_here(user_id: str) -> bool:
    """Whether this hub made the id; ids of other issuers' users look different."""
    return _ISSUED.match(user_id) is not None


def _sorted(roles: tuple[Role, ...]) -> tuple[Role, ...]:
    return tuple(sorted(set(roles)))


Roles = Annotated[tuple[Role, ...], Field(min_length=1, max_length=len(Role)), AfterValidator(_sorted)]


class User(Frozen):
    """A person or a service of one tenant. `user_id` is the hub's, `login` the user's own word."""

    tenant_id: str
    user_id: str
    login: str
    name: str
    email: str | None = None
    roles: Roles
    enabled: bool = True
    profile: Profile = Field(default_factory=dict)
    created_ns: int
    changed_ns: int
    version: int


class NewUser(Frozen):
    """What is needed to add a user. Without a password the user is invited to choose one."""

    login: Login
    name: PersonName
    email: Email | None = None
    roles: Roles = (Role.TRADER,)
    password: Password | None = None


class UserBatch(Frozen):
    """Users to be added together, or none of them. They come in by API keys."""

    users: Annotated[tuple[NewUser, ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _no_passwords(self) -> Self:
        if any(user.password for user in self.users):
            raise ValueError(
                "users of a batch have no passwords: hashing a thousand takes minutes; invite them"
            )
        logins = [user.login for user in self.users]
        if len(set(logins)) != len(logins):
            raise ValueError("a login occurs twice")
        return self


class UserChange(Frozen):
    """What is to change of a user; what is not named stays."""

    name: PersonName | None = None
    email: Email | None = None
    roles: Roles | None = None
    enabled: bool | None = None
    profile: Profile | None = None


class Invitation(Frozen):
    """A place that is kept for somebody; its secret was shown once, to the one who invited."""

    tenant_id: str
    invitation_id: str
    login: str
    roles: Roles
    invited_by: str
    created_ns: int
    expires_ns: int
    accepted_ns: int | None = None
