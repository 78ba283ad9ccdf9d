"""Reactions: orders that Floodgate gives by itself when a destination gives certain replies too often."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from mta.model.replies import CODE, ENHANCED
from mta.model.setting_units import Seconds, Unit

NAME: Final = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
MOST: Final = 1000  # replies of a threshold
AUTHOR: Final = "reaction:"  # begins the author of what a reaction orders


def author_of(reaction: str) -> str:
    """The author of what a reaction orders."""
    return f"{AUTHOR}{reaction}"


class ReactionSettings(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"for_": "for"}):
    """A reaction to replies: when `threshold` of them have come, it limits the mail that they are about. At least one
    of code, enhanced and text is needed. A file may have many of these tables."""

    name: Annotated[
        str,
        Meta(description='Its name; "" = the site and a number. One of the name of an included reaction replaces it.'),
    ] = ""
    site: Annotated[str, Meta(description='Site whose replies count; "" = any, each for itself.')] = ""
    code: Annotated[
        tuple[Annotated[str, Meta(pattern=CODE)], ...],
        Meta(description='Codes, an x for any digit: ["421", "45x"]; [] = any 4xx or 5xx.'),
    ] = ()
    enhanced: Annotated[
        str, Meta(pattern=f"^({ENHANCED[1:-1]})?$", description='Enhanced code, an x for any class; "" = any.')
    ] = ""
    text: Annotated[
        str,
        Meta(max_length=1000, description='Regular expression (RE2) anywhere in the text, any case; "" = any text.'),
    ] = ""
    threshold: Annotated[str, Meta(description='Replies within a time, over all nodes: "3/h"; units s, m, h, d.')] = (
        "3/h"
    )
    action: Annotated[
        Literal["pause", "slow", "connections", "messages_per_connection"],
        Meta(
            description='"pause": no mail leaves; "slow": at most value; "connections": at most value at once; '
            '"messages_per_connection": a connection carries at most value.'
        ),
    ] = "pause"
    value: Annotated[
        str, Unit.TEXT, Meta(description='For "slow" a rate of messages ("10/m"), for the next two a number.')
    ] = ""
    for_: Annotated[
        Seconds, Meta(ge=1, le=2592000, description="How long; then back to normal by halves, in the same time again.")
    ] = 1800.0
    scope: Annotated[
        Literal["ip", "pool", "tenant", "tag"],
        Meta(
            description="Whose replies are counted, and whose mail is limited at the site: the sending IP, the pool; "
            '"tenant" and "tag" are paused at the site.'
        ),
    ] = "ip"
    enabled: Annotated[bool, Meta(description="false: it does nothing, nor does an included one of its name.")] = True


EXAMPLE: Final = ReactionSettings(
    name="example-too-many",
    site="example",
    code=("421",),
    text="too many connections",
    action="connections",
    value="1",
    for_=1800.0,
)


class PauseWish(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pause that a reaction asks for; the sweeper orders it. Times are Unix ms."""

    reaction: str
    site: str
    tenant: str = ""
    tag: str = ""
    until: int
    reason: str

    @property
    def id(self) -> str:
        """One for each reaction and mail."""
        return "\0".join((self.reaction, self.site, self.tenant, self.tag))
