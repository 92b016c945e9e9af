"""Settings that go together, under a name: `config/tenant_templates.yaml`."""

from __future__ import annotations

from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from deployments.front.tenant_config.documents import flat
from deployments.front.tenant_config.schema import setting_of, shown
from models.base import Frozen
from models.errors import BadValue, ConfigError
from models.tenant_config import Layer

TemplateName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    try:
        values = flat(config)
        for name, value in values.items():
            _check(name, value)
    except BadValue as error:
        raise ValueError(error.message) from error
    return values


def _check(name: str, value: Any) -> None:
    if setting_of(name).secret:
        raise BadValue(f"{name} is a secret, and no template has one", field=name)
    setting_of(name).check(Layer.TENANT, value)


class Template(Frozen):
    """What it is for, and the values that it sets; it leaves all others as they are."""

    about: str
    config: Annotated[dict[str, Any], AfterValidator(_checked)]


class Templates(Frozen):
    """All templates, by name."""

    templates: dict[TemplateName, Template] = Field(default_factory=dict)

    def find(self, name: str) -> Template:
        """BadValue for a name that no template has."""
        template = self.templates.get(name)
        if template is None:
            known = ", ".join(self.templates) or "none"
            raise BadValue(f"template was {shown(name)}; expected one of: {known}", field="template")
        return template


def load_templates(text: str) -> Templates:
    """The templates of a file; ConfigError names the template and the setting that is wrong."""
    try:
        return Templates.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError(f"the file of templates is not YAML: {error}", field="templates") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigError(f"the file of templates: {wrong}", field="templates") from error
