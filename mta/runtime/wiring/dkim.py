"""DKIM outside of workers: the orders of the API, and the watch over DNS records in the sweeper process."""

import os

from mta.dns.organisations import organisational_domain
from mta.dns.records import AskedRecords
from mta.model.settings import Settings
from mta.redis_store.dkim_keys import StoredDkimKeys, StoredRecordLooks
from mta.runtime.wiring.opening import OpenStore
from mta.runtime.wiring.secrets import cluster_sealer
from mta.signing.domain_check import DomainCheck
from mta.signing.key_book import KeyBook
from mta.signing.record_watch import RecordWatch


def key_book(store: OpenStore, settings: Settings) -> KeyBook:
    return KeyBook(
        StoredDkimKeys(store.link),
        StoredRecordLooks(store.link),
        cluster_sealer(store, settings),
        AskedRecords(settings.delivery.dns_servers),
    )


def domain_check(store: OpenStore, settings: Settings) -> DomainCheck:
    ips = {ip for pool in settings.pools.values() for ip in pool.ips}
    dns = AskedRecords(settings.delivery.dns_servers)
    return DomainCheck(key_book(store, settings), dns, organisational_domain, ips, settings.dkim.default_domain)


def record_watch(store: OpenStore, settings: Settings) -> RecordWatch:
    owner = f"{settings.node.name}/{os.getpid()}"
    return RecordWatch(key_book(store, settings), StoredDkimKeys(store.link), StoredRecordLooks(store.link), owner)
