"""API tokens as requests order them and as answers show them."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas import account_values, values
from control_api.schemas.answers import Time
from control_api.schemas.reading import Body


class TokenBody(Struct, kw_only=True, frozen=True):
    """A new token."""

    name: Annotated[
        str, account_values.TITLE, Meta(description="for people: the user or program that has it; 1 to 64 characters")
    ]
    scopes: Annotated[
        tuple[str, ...], account_values.SCOPES, Meta(description="the rights of the token; admin includes all others")
    ]
    tenant: Annotated[
        str | None,
        account_values.TENANT_NAME,
        Meta(description="the tenant whose mail alone it reaches; absent: all mail"),
    ] = None
    simulate: Annotated[
        bool, Meta(description="true: all mail that is handed in with it goes to the simulation and reaches nobody")
    ] = False
    expires_at: Annotated[
        str | None, values.MOMENT, Meta(description="when it ends: RFC 3339, to come, or +30m from now")
    ] = None


NEW_TOKEN = Body("NewToken", TokenBody)


class Token(Struct, kw_only=True, frozen=True):
    """A token without its text."""

    id: str
    name: str
    scopes: list[str]
    tenant: str | UnsetType = UNSET
    simulate: bool | UnsetType = UNSET
    expires_at: Time | UnsetType = UNSET
    expired: bool
    created_at: Time | None
    created_by: str


class MadeToken(Token, kw_only=True, frozen=True):
    """A new token with its text, which nothing shows again."""

    token: str


class Tokens(Struct, kw_only=True, frozen=True):
    """A page of the list of tokens; `cursor` is null on the last page."""

    tokens: list[Token]
    cursor: str | None
