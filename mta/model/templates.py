"""Templates of mail: the parts of one, its versions, and their limits."""

import hashlib
import re
from typing import Final

import msgspec

PARTS: Final = ("subject", "text", "html")
MAX_SUBJECT: Final = 4096  # bytes of UTF-8 of the template of a subject
MAX_PART: Final = 256 * 1024  # of that of a text or of HTML
MAX_VERSIONS: Final = 20  # of one template; older ones are dropped, the published one never
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)


class TemplateParts(msgspec.Struct, frozen=True, array_like=True):
    """The parts of a mail: their templates, or, once they are rendered, their content. "" = it has no such part."""

    subject: str = ""
    text: str = ""
    html: str = ""

    @property
    def digest(self) -> str:
        """Another one for other parts."""
        return hashlib.sha256("\0".join((self.subject, self.text, self.html)).encode()).hexdigest()[:32]

    @property
    def size(self) -> int:
        """Bytes of UTF-8 of all parts."""
        return sum(len(getattr(self, part).encode()) for part in PARTS)


class TemplateVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version of a template, which never changes. Times are Unix milliseconds."""

    number: int  # 1 is the first
    digest: str  # of its parts
    size: int  # bytes of its parts
    created_at: int
    created_by: str
    published_at: int = 0  # when it was published last; 0 = never


class Template(msgspec.Struct, frozen=True, omit_defaults=True):
    """A template without its parts. Its newest version is a draft until it is published."""

    name: str
    tenant: str = ""  # "" = it belongs to the operator of the cluster, and the mail of each tenant may use it
    published: int = 0  # the version that mail uses; 0 = none
    versions: tuple[TemplateVersion, ...] = ()  # the oldest first

    @property
    def latest(self) -> int:
        """The number of the newest version; 0 = there is none."""
        return self.versions[-1].number if self.versions else 0

    def version(self, number: int) -> TemplateVersion | None:
        """None: there is none, or it was dropped."""
        return next((one for one in self.versions if one.number == number), None)

    def with_draft(self, draft: TemplateVersion) -> "Template":
        """The template with a newest version; versions beyond the limit are dropped."""
        versions = [*self.versions, draft]
        while len(versions) > MAX_VERSIONS:
            del versions[1 if versions[0].number == self.published else 0]
        return msgspec.structs.replace(self, versions=tuple(versions))

    def with_published(self, number: int, at: int) -> "Template":
        """The template whose mail uses this version, which is there."""
        versions = (
            msgspec.structs.replace(one, published_at=at) if one.number == number else one for one in self.versions
        )
        return msgspec.structs.replace(self, published=number, versions=tuple(versions))
