"""The parts that sign mail, in a process that takes some."""

from typing import NamedTuple

from mta.model.settings import Settings
from mta.redis_store.dkim_keys import StoredDkimKeys
from mta.runtime.signing_process import SigningProcess
from mta.runtime.wiring.opening import OpenStore
from mta.runtime.wiring.secrets import cluster_sealer
from mta.signing.key_ring import KeyRing
from mta.signing.mail_signer import MailSigner


class Signing(NamedTuple):
    """Nothing of it is started."""

    ring: KeyRing
    beside: SigningProcess
    signer: MailSigner


def open_signing(settings: Settings, store: OpenStore) -> Signing | None:
    """None: this node signs no mail."""
    if settings.dkim.sign == "off":
        return None
    ring, beside = KeyRing(StoredDkimKeys(store.link), cluster_sealer(store, settings)), SigningProcess()
    return Signing(ring, beside, MailSigner(settings.dkim, ring, beside))
