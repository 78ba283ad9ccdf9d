"""The templates of a cluster, in memory."""

from collections.abc import Callable, Sequence

from mta.model.templates import Template, TemplateParts


class Templates:
    """Fulfils ports.templates.TemplateStore; `reach` is called first and may raise."""

    def __init__(self, reach: Callable[[], None] = lambda: None) -> None:
        self._reach = reach
        self._templates: dict[tuple[str, str], Template] = {}  # by name and tenant
        self._parts: dict[tuple[str, str, int], TemplateParts] = {}
        self.bound: set[tuple[str, str]] = set()  # those that tokens of tenants made

    async def all(self) -> list[Template]:
        self._reach()
        return [template for _, template in sorted(self._templates.items())]

    async def find(self, name: str, tenants: Sequence[str]) -> Template | None:
        self._reach()
        found = (self._templates.get((name, tenant)) for tenant in tenants)
        return next((template for template in found if template is not None), None)

    async def parts(self, template: Template, number: int) -> TemplateParts | None:
        self._reach()
        return self._parts.get((template.name, template.tenant, number))

    async def put(
        self, template: Template, was: Template | None, parts: TemplateParts | None = None, *, bound: bool = False
    ) -> bool:
        self._reach()
        name = (template.name, template.tenant)
        if self._templates.get(name) != was:
            return False
        self._templates[name] = template
        if bound:
            self.bound.add(name)
        if parts is not None:
            self._parts[(*name, template.latest)] = parts
        kept = {version.number for version in template.versions}
        self._parts = {key: one for key, one in self._parts.items() if key[:2] != name or key[2] in kept}
        return True

    async def remove(self, template: Template) -> None:
        self._reach()
        name = (template.name, template.tenant)
        self._templates.pop(name, None)
        self._parts = {key: one for key, one in self._parts.items() if key[:2] != name}
