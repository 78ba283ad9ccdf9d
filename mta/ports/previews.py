"""Previews of rules, which any API process takes and any sweeper process counts; raises StoreAway, StoreError."""

from collections.abc import Callable
from typing import Protocol

from mta.model.previews import Preview


class PreviewStore(Protocol):
    """Previews live for `model.previews.LIFETIME` after they were asked for."""

    async def ask(self, preview: Preview) -> bool:
        """Keep it for a sweeper process to count. False: too many wait already, nothing was kept."""
        ...

    async def get(self, preview_id: str) -> Preview | None:
        """None: there is none, or its time is over."""
        ...

    async def waiting(self) -> list[str]:
        """Ids of previews that are not counted yet, the oldest first."""
        ...

    async def take(self, preview_id: str, owner: str, lease: float) -> Preview | None:
        """Own the count of the preview for `lease` seconds. None: another process does, or the preview is over."""
        ...

    async def save(self, preview: Preview, owner: str, lease: float) -> bool:
        """Write how far the count is, and keep owning it. False: another process owns it, or the preview is over."""
        ...

    def on_asked(self, hint: Callable[[], None]) -> None:
        """Call `hint` when somebody asks for a preview; hints may be lost."""
        ...
