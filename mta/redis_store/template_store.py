"""Templates of mail in `{meta}`: a table of them, and the parts of the versions of each."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from mta.model.errors import BadValue
from mta.model.templates import Template, TemplateParts
from mta.ports.certainty import made_certain
from mta.redis_store import keys
from mta.redis_store.link import Link

MOST: Final = 2000
MOST_OF_TENANT: Final = MOST // 10  # made with tokens bound to it
MOST_BYTES: Final = 256 * 1024 * 1024  # of the parts of all versions
_BYTES: Final = b"bytes"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Template).decode
_decode_parts: Final = msgspec.json.Decoder(TemplateParts).decode


class StoredTemplates:
    """Fulfils ports.templates.TemplateStore."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def all(self) -> list[Template]:
        answer = await self._link.command("HGETALL", keys.META_TEMPLATES)
        fields = zip(answer[::2], answer[1::2], strict=True)
        found = [_decode(raw) for name, raw in fields if name != _BYTES]
        return sorted(found, key=lambda template: (template.name, template.tenant))

    async def find(self, name: str, tenants: Sequence[str]) -> Template | None:
        ids = [_id(name, tenant) for tenant in tenants]
        found = await self._link.command("HMGET", keys.META_TEMPLATES, *ids)
        return next((_decode(raw) for raw in found if raw is not None), None)

    async def parts(self, template: Template, number: int) -> TemplateParts | None:
        raw = await self._link.command("HGET", _parts_key(template), number)
        return None if raw is None else _decode_parts(raw)

    async def put(
        self, template: Template, was: Template | None, parts: TemplateParts | None = None, *, bound: bool = False
    ) -> bool:
        kept = {version.number for version in template.versions}
        dropped = [one.number for one in (was.versions if was else ()) if one.number not in kept]
        args: list[bytes | str | int] = [
            _id(template.name, template.tenant),
            _encode(template),
            b"" if was is None else _encode(was),
            MOST,
            MOST_BYTES,
            template.latest,
            b"" if parts is None else _encode(parts),
            MOST_OF_TENANT if bound else MOST,
            *dropped,
        ]
        ask = partial(self._link.call_kept, b"template_put", (keys.META_TEMPLATES, _parts_key(template)), args)
        done = await made_certain(ask, ask, self._link.timeout)
        if done == -1:
            raise BadValue("name", f"there are {MOST} templates already; remove some")
        if done == -2:
            raise BadValue("name", f"the templates of the cluster have {MOST_BYTES >> 20} MiB already; remove some")
        if done == -3:
            words = f"there are {MOST_OF_TENANT} templates of the tenant {template.tenant} already; remove some"
            raise BadValue("name", words)
        return bool(done)

    async def remove(self, template: Template) -> None:
        args: list[bytes | str | int] = [_id(template.name, template.tenant)]
        ask = partial(self._link.call_kept, b"template_remove", (keys.META_TEMPLATES, _parts_key(template)), args)
        await made_certain(ask, ask, self._link.timeout)


def _id(name: str, tenant: str) -> str:
    return f"{tenant}/{name}"


def _parts_key(template: Template) -> bytes:
    return keys.template_key(_id(template.name, template.tenant))
