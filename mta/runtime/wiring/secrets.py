"""The secrets of the cluster: the key in the data folder of this node, and its fingerprint in the store."""

from mta.model.settings import Settings
from mta.ports.secrets import Sealer
from mta.runtime.wiring.opening import OpenStore
from mta.sealing.cluster_key import ClusterKey


def cluster_sealer(store: OpenStore, settings: Settings) -> Sealer:
    return ClusterKey(settings.node.data_dir, store.cluster.claim_seal)
