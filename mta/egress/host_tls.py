"""The TLS of each connection: its need by the settings and by the MTA-STS policy of the domain, and its result."""

import asyncio
from typing import Final

from mta.egress.dial import ReadyConnection
from mta.egress.sts_policies import StsParts, StsPolicies
from mta.egress.targets import Target
from mta.egress.tls_counts import TlsCounts
from mta.model.phases import Phase
from mta.model.settings import Settings
from mta.policy.failures import Trouble, broken
from mta.policy.mta_sts import StsMode, StsPolicy
from mta.policy.routes import MX, Route
from mta.policy.tls import TlsLevel, TlsNeed, TlsNeeds
from mta.policy.tls_results import CLEAR, FAILED, NO_POLICY, STS, SUCCESS, TlsResult
from mta.ports.delivery import Resolver
from mta.ports.tls_results import TlsResults

_LEFT: Final = 5.0  # seconds for the last counts to be written


class HostTls:
    """For all connections of a worker."""

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        sts: StsParts | None,
        results: TlsResults | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`sts` None: policies are not looked at. `results` None: results are not kept."""
        self._needs = TlsNeeds(settings)
        self._counts = TlsCounts(results, loop)
        self._policies = None if sts is None else StsPolicies(resolver, sts, loop, self._policy_failed)

    async def policy(self, domain: str, route: Route) -> StsPolicy | None:
        """The policy for mail of the domain by this route; None: there is none. A policy concerns the domain's own
        hosts, and where the settings say that mail goes in clear text it is not asked for."""
        if self._policies is None or route != MX or domain.startswith("["):
            return None
        if self._needs.of(domain, "", route).level is TlsLevel.NONE:
            return None
        return await self._policies.of(domain)

    def need(self, domain: str, site: str, target: Target, policy: StsPolicy | None) -> TlsNeed | Trouble:
        """The need of a connection to this host; Trouble: the policy forbids the host."""
        need = self._needs.of(domain, site, target.route)
        if policy is None or need.level is TlsLevel.NONE:
            return need
        if not policy.allows(target.host):
            self._count(domain, STS, target.host, FAILED)
            if policy.mode is StsMode.ENFORCE:
                words = f"the MTA-STS policy of {domain} does not name {target.host}"
                return broken(Phase.TLS, words, target.host, target.ip)
        return need._replace(level=TlsLevel.VERIFIED) if policy.mode is StsMode.ENFORCE else need

    def came_to(
        self, domain: str, target: Target, need: TlsNeed, policy: StsPolicy | None, found: ReadyConnection | Trouble
    ) -> None:
        """Count the result of a connection, and look at the policy again if the host did not follow it."""
        if need.level is TlsLevel.NONE:
            return
        kind = NO_POLICY if policy is None else STS
        if isinstance(found, ReadyConnection):
            self._count(domain, kind, target.host, SUCCESS if found.tls else FAILED if found.tls_failed else CLEAR)
        elif found.phase is Phase.TLS:
            self._count(domain, kind, target.host, found.tls_result or FAILED)
            if policy is not None and self._policies is not None:
                self._policies.doubt(domain)

    def tick(self, now: float) -> None:
        """Called several times a second: write the counts every few seconds."""
        self._counts.tick(now)

    async def close(self) -> None:
        await self._counts.close(_LEFT)
        if self._policies is not None:
            await self._policies.close()

    def _policy_failed(self, domain: str, result: str) -> None:
        self._count(domain, STS, "", result)

    def _count(self, domain: str, policy: str, mx: str, result: str) -> None:
        self._counts.add(TlsResult(domain, policy, mx, result))
