"""Templates that calls name: the published version as it stands in the store now, compiled once."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from control_api.http.problems import Problem
from control_api.schemas.sending_values import TEMPLATE, TemplateName
from mta.model.actor import Actor
from mta.ports.templates import TemplateStore

if TYPE_CHECKING:
    from mta.content.templating import CompiledTemplate

_MOST: Final = 200  # compiled templates in memory


class NamedTemplates:
    """Remembers compiled templates by their parts, which never change."""

    def __init__(self, store: TemplateStore) -> None:
        self._store = store
        self._compiled: OrderedDict[str, CompiledTemplate] = OrderedDict()

    async def of(self, fields: Mapping[str, Any], actor: Actor) -> "CompiledTemplate":
        """The one that the field `template` of a body names. Raises BadValue as well."""
        wanted = TEMPLATE.read(fields["template"], "template")
        tenant = actor.tenant or fields.get("tenant")
        return await self.find(wanted, tenant if isinstance(tenant, str) else "")

    async def find(self, wanted: TemplateName, tenant: str) -> "CompiledTemplate":
        """The tenant's own template of this name, else the operator's. Raises Problem 422, StoreAway, StoreError."""
        from mta.content.templating import CompiledTemplate

        found = await self._store.find(wanted.name, [tenant, ""] if tenant else [""])
        if found is None:
            raise Problem(422, f"there is no template {wanted.name}; nothing was sent", "template")
        number = wanted.version or found.published
        version = found.version(number)
        if not number or (version is not None and not version.published_at):
            what = f"version {number} of template {found.name}" if number else f"template {found.name}"
            raise Problem(422, f"{what} was never published; nothing was sent", "template")
        if version is None:
            raise Problem(422, f"template {found.name} has no version {number}; nothing was sent", "template")
        compiled = self._compiled.get(version.digest)
        if compiled is None:
            parts = await self._store.parts(found, number)
            if parts is None:
                raise Problem(422, f"template {found.name} was removed; nothing was sent", "template")
            compiled = CompiledTemplate(parts)
            if len(self._compiled) >= _MOST:
                self._compiled.popitem(last=False)
        self._compiled[version.digest] = compiled
        self._compiled.move_to_end(version.digest)
        return compiled
