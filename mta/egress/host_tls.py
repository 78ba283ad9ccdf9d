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
_FAILED_FOR: Final = 3600.0  # seconds for which a certificate that failed under a policy in testing is not tried again
_MOST_FAILED: Final = 10_000  # hosts


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
        self._loop = loop
        self._failed: dict[tuple[str, str], tuple[float, str]] = {}  # host, IP -> until when, and the result
        self._policies = None if sts is None else StsPolicies(resolver, sts, loop, self._policy_failed)

    async def policy(self, domain: str, route: Route) -> StsPolicy | None:
        """The policy for mail of the domain by this route; None: there is none. A policy concerns the domain's own
        hosts, and where the settings say that mail goes in clear text it is not asked for."""
        if self._policies is None or not self._may_have_policy(domain, route):
            return None
        return await self._policies.of(domain)

    def is_at_hand(self, domain: str, route: Route) -> bool:
        """Whether the policy, or that there is none, is known without a question to DNS."""
        return self._policies is None or not self._may_have_policy(domain, route) or self._policies.is_asked(domain)

    def _may_have_policy(self, domain: str, route: Route) -> bool:
        if route is not MX or domain.startswith("["):
            return False
        return self._needs.of(domain, "", route).level is not TlsLevel.NONE

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

    def trial(self, target: Target, need: TlsNeed, policy: StsPolicy | None) -> TlsNeed | None:
        """The need of a first connection that finds out whether a policy in testing would hold; None: mail goes as the
        settings say at once, because there is no such policy, it does not name the host, or the trial failed lately."""
        if policy is None or policy.mode is not StsMode.TESTING or not policy.allows(target.host):
            return None
        if need.level in (TlsLevel.NONE, TlsLevel.VERIFIED) or self._failure(target):
            return None
        return need._replace(level=TlsLevel.VERIFIED)

    def trial_failed(self, target: Target, trouble: Trouble) -> None:
        """The host has no TLS, or its certificate is not valid: remember that, so that one more connection is made in
        an hour only."""
        if len(self._failed) >= _MOST_FAILED:
            self._failed.clear()
        self._failed[target.host, target.ip] = self._loop.time() + _FAILED_FOR, trouble.tls_result or FAILED

    def _failure(self, target: Target) -> str:
        """The result of the last trial, "" = it did not fail lately."""
        until, result = self._failed.get((target.host, target.ip), (0.0, ""))
        return result if until > self._loop.time() else ""

    def came_to(
        self, domain: str, target: Target, need: TlsNeed, policy: StsPolicy | None, found: ReadyConnection | Trouble
    ) -> None:
        """Count the result of a connection, and look at the policy again if the host did not follow it."""
        if need.level is TlsLevel.NONE:
            return
        kind = NO_POLICY if policy is None else STS
        if isinstance(found, ReadyConnection):
            failure = self._failure(target) if policy is not None and policy.mode is StsMode.TESTING else ""
            result = SUCCESS if found.tls else FAILED if found.tls_failed else CLEAR
            self._count(domain, kind, target.host, failure or result)
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
