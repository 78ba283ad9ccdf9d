"""The health of an endpoint: failures in a row, the time since its last success, and what follows from them."""

from msgspec.structs import replace

from mta.model.units import format_time
from mta.policy.webhook_retry import GIVE_UP_MS, GONE, MOST_FAILURES, MOST_WAITING, pause_ms
from mta.ports.webhooks import KeptFigures, PostAnswer


class Health:
    """`figures` are a value: another one with each change."""

    def __init__(self, figures: KeptFigures) -> None:
        self._figures = figures
        self._last_success = figures.last_success

    @property
    def figures(self) -> KeptFigures:
        if self._figures.last_success != self._last_success:
            self._figures = replace(self._figures, last_success=self._last_success)
        return self._figures

    @property
    def has_failed(self) -> bool:
        """The last request did."""
        return self._figures.failures > 0

    def is_failing(self, waiting: int) -> bool:
        """`waiting` are the events in its retry list."""
        failures = self._figures.failures
        return failures >= MOST_FAILURES or (failures > 0 and waiting >= MOST_WAITING)

    def note_success(self, now: int) -> None:
        """`now` is Unix ms, here and below."""
        self._last_success = now
        if self._figures.failing_since:
            self._figures = replace(self._figures, failures=0, failing_since=0, next_probe=0, probes=0)

    def note_failure(self, answer: PostAnswer, now: int, chance: float) -> None:
        figures = self.figures
        next_probe, probes = figures.next_probe, figures.probes
        if figures.failures < MOST_FAILURES:
            next_probe = now + pause_ms(1, chance, answer.retry_after)
        elif now >= next_probe:
            probes += 1
            next_probe = now + pause_ms(probes + 1, chance, answer.retry_after)
        # Otherwise it was under way when the endpoint began to fail: a window of them would put the probe off by hours.
        self._figures = replace(
            figures,
            failures=figures.failures + 1,
            failing_since=figures.failing_since or now,
            last_failure=now,
            last_failure_text=answer.failure,
            next_probe=next_probe,
            probes=probes,
        )

    def note_given_up(self, events: int) -> None:
        self._figures = replace(self.figures, given_up=self.figures.given_up + events)

    def note_lost(self, events: int) -> None:
        self._figures = replace(self.figures, lost=self.figures.lost + events)

    def begin_anew(self) -> None:
        """It was enabled."""
        self._figures = replace(self.figures, failures=0, failing_since=0, next_probe=0, probes=0)

    def reason_to_disable(self, answer: PostAnswer, now: int) -> str:
        """After a failure; "" = it is tried again."""
        if answer.status == GONE:
            return "it answered 410 Gone"
        if now - self.figures.failing_since >= GIVE_UP_MS:
            return f"no success since {format_time(self.figures.failing_since)}: {answer.failure}"
        return ""
