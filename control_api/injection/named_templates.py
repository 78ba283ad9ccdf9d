"""Templates that calls name: the published version as it stands in the store now, compiled once."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from control_api.http.problems import Problem
from control_api.schemas.sending_values import TEMPLATE, TemplateName
from mta.model.actor import Actor
from mta.model.templates import Template
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

    async def marked(self, fields: Mapping[str, Any], actor: Actor, mark: bytes) -> "tuple[CompiledTemplate, bytes]":
        """As `of`, and the mark by which a repeat of the call finds the same version again. `mark`: the one that it
        had before, b"" = none."""
        wanted = TEMPLATE.read(fields["template"], "template")
        if mark:
            owner, _, number = mark.decode().partition("\0")
            return (await self._find(wanted._replace(version=int(number)), [owner]))[0], mark
        tenant = actor.tenant or fields.get("tenant")
        tenants = [tenant, ""] if isinstance(tenant, str) and tenant else [""]
        compiled, found, published = await self._find(wanted, tenants)
        return compiled, f"{found.tenant}\0{published}".encode()

    async def find(self, wanted: TemplateName, tenant: str) -> "CompiledTemplate":
        """The tenant's own template of this name, else the operator's. Raises Problem 422, StoreAway, StoreError."""
        return (await self._find(wanted, [tenant, ""] if tenant else [""]))[0]

    async def _find(self, wanted: TemplateName, tenants: Sequence[str]) -> "tuple[CompiledTemplate, Template, int]":
        from mta.content.templating import CompiledTemplate

        found = await self._store.find(wanted.name, tenants)
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
        return compiled, found, number
