"""All operations of the API, by noun: the application routes them, the description tells of them."""

from typing import Final

from control_api.audit.resource import OPERATIONS as AUDIT
from control_api.books.operations import OPERATIONS as BOOKS
from control_api.brakes.operations import OPERATIONS as BRAKES
from control_api.dkim.operations import OPERATIONS as DKIM
from control_api.history.operations import OPERATIONS as HISTORY
from control_api.http.operation import Group, Operation
from control_api.limits.operations import OPERATIONS as LIMITS
from control_api.messages.resource import OPERATIONS as MESSAGES
from control_api.node.operations import OPERATIONS as NODE
from control_api.pools.operations import OPERATIONS as POOLS
from control_api.queues.operations import OPERATIONS as QUEUES
from control_api.replies.operations import OPERATIONS as REPLIES
from control_api.rules.operations import group_of
from control_api.suppressions.operations import OPERATIONS as SUPPRESSIONS
from control_api.templates.operations import OPERATIONS as TEMPLATES
from control_api.tenants.resource import OPERATIONS as TENANTS
from control_api.tokens.resource import OPERATIONS as TOKENS
from control_api.webhooks.operations import OPERATIONS as WEBHOOKS
from mta.model.rules import Kind

GROUPS: Final[tuple[Group, ...]] = (
    group_of(Kind.ERROR),
    group_of(Kind.PAUSE),
    BRAKES,
    MESSAGES,
    TEMPLATES,
    HISTORY,
    QUEUES,
    BOOKS,
    WEBHOOKS,
    SUPPRESSIONS,
    TOKENS,
    TENANTS,
    POOLS,
    DKIM,
    REPLIES,
    LIMITS,
    AUDIT,
    NODE,
)


def operations() -> list[Operation]:
    """All of them."""
    return [operation for group in GROUPS for operation in group.operations]
