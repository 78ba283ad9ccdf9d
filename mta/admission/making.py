"""Makes the message that is accepted out of one that was read: route, terms of its tenant, trace header."""

from collections.abc import Callable, Mapping

from mta.content.trace import trace_header
from mta.model.ids import MessageId, message_text
from mta.model.injection import Injection
from mta.model.mail import NewMessage
from mta.model.outcomes import Reply
from mta.model.rules import Rule
from mta.model.settings import Settings
from mta.policy.routing import RoutingDefaults, route
from mta.policy.simulation import is_of_simulation
from mta.ports.admission import Requester


class MessageMaker:
    """Knows the defaults of the settings, and the terms of tenants."""

    def __init__(self, settings: Settings, tenants: Callable[[], Mapping[str, Rule]] = dict) -> None:
        """`tenants` gives the terms of tenants, by name."""
        smtp, delivery = settings.smtp, settings.delivery
        self._tenants = tenants
        self._simulate_domain = settings.messages.simulate_domain
        self._hostname = smtp.hostname or settings.node.name
        self._defaults = RoutingDefaults(smtp.default_pool, delivery.max_age, delivery.max_attempts)

    def signing_domain(self, tenant: str) -> str:
        """The domain that signs mail of the tenant whose own domain has no key; "" = none."""
        terms = self._tenants().get(tenant)
        return "" if terms is None else terms.dkim_domain

    def make(
        self,
        requester: Requester,
        sender: str,
        recipients: tuple[str, ...],
        injection: Injection,
        parts: tuple[bytes, bytes, bytes | memoryview],
        message_id: MessageId,
        now_ms: int,
        properties: dict[str, str] | None = None,
    ) -> NewMessage | Reply:
        """`parts`: signatures, header fields and the rest, from the empty line on. `properties` are those of the
        injection where none are given."""
        defaults = self._defaults
        if injection.tenant and (terms := self._tenants().get(injection.tenant)) is not None and terms.default_pool:
            defaults = defaults._replace(pool=terms.default_pool)
        way = route(recipients, injection, defaults, now_ms)
        if isinstance(way, Reply):
            return way
        client = requester.address
        trace = trace_header(
            requester.name, client, self._hostname, requester.protocol, message_text(message_id), recipients, now_ms
        )
        simulated = injection.simulated or is_of_simulation(way.recipients, self._simulate_domain)
        # The rest is copied once, however large.
        content = b"" if simulated else b"".join((trace, *parts))
        return NewMessage(  # by place: names take three times as long
            message_id,
            sender,
            way.recipients,
            way.pool,
            injection.tags,
            content,
            not content.isascii(),
            now_ms,
            way.due_at,
            way.expires_at,
            way.max_attempts,
            injection.retries,
            client,
            injection.properties if properties is None else properties,
            injection.tenant,
            injection.priority,
            injection.window,
            simulated,
            None,  # call
            injection.topic,
        )
