"""The templates of the cluster: who has which, their versions, and the parts of these."""

from collections.abc import Sequence
from typing import Protocol

from mta.model.templates import Template, TemplateParts


class TemplateStore(Protocol):
    """Each call raises StoreAway, StoreError. A call may be repeated. Each answer is what stands in the store now, so a
    published version is used from then on by all nodes."""

    async def all(self) -> list[Template]:
        """By name, then by tenant."""
        ...

    async def find(self, name: str, tenants: Sequence[str]) -> Template | None:
        """The template of the first of these tenants that has one of this name ("" = the operator's)."""
        ...

    async def parts(self, template: Template, number: int) -> TemplateParts | None:
        """The parts of a version; None: it is not there any more."""
        ...

    async def put(
        self, template: Template, was: Template | None, parts: TemplateParts | None = None, *, bound: bool = False
    ) -> bool:
        """Keep the template in place of `was`, and `parts` as those of its newest version; parts of versions that it
        has no more are dropped. False: it stands otherwise than `was`. Raises BadValue: there are too many, or too many
        of its tenant, whose token (`bound`) may make a share of them only."""
        ...

    async def remove(self, template: Template) -> None:
        """Remove it with all versions."""
        ...
