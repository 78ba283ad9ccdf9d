"""Every Redis key: its shape, what it holds, how long it lives.

A delivery that lives is in exactly one of: one `due` queue, one session's `claimed`, one pause's `held`, `parked`; its
record is in `rec` then, its message's content in `content`. When it ends it is in `ended:<hour>` and nowhere else; or,
with record and content, for a while in one rule's `spared` too.
`agenda:<place>`[domain] <= the least score of `due:<place>:<domain>`, and is there whenever that queue is.
A <place> is a pool's name, or "<pool>~<share>" (mta/model/shares.py), which is in `shares:<pool>` whenever its agenda
is there.
`mta.redis_store.checker` asserts this and recounts every class.
"""

import functools

from mta.model.mail import QueueKey
from mta.model.shares import place_of

# Per lane; {n} is the lane's number and the hash tag that keeps the lane in one Cluster slot.


def lane_prefix(lane: int) -> bytes:
    return b"fg:{%d}:" % lane


def lane_of_prefix(prefix: bytes) -> int:
    return int(prefix[4:-2])


# fg:{n}:lane                  hash    the anchor: schema, last token, barrier (least generation that may decide),
#                                      epoch of the stream (absent = 1), born (Unix ms)
# fg:{n}:due:<place>:<domain>  zset    delivery id -> time of the next attempt (Unix ms)
# fg:{n}:agenda:<place>        zset    domain -> earliest due time in its queue
# fg:{n}:shares:<pool>         set     shares of the pool that have mail in their queues, without ""
# fg:{n}:pools                 set     pools that ever had mail here
# fg:{n}:claimed:<session>     hash    delivery id -> "<token>|<place>|<domain>"
# fg:{n}:holders               set     sessions that have claimed here since they last held nothing
# fg:{n}:parked                zset    "<delivery id><place>|<domain>" -> since when (Unix ms)
# fg:{n}:held:<pause id>       zset    "<delivery id><place>|<domain>" -> time of the next attempt (Unix ms)
# fg:{n}:released:<pause id>   hash    of the last round of its staged release here: at (round id), n (deliveries
#                                      that it let go), closed; 30 days
# fg:{n}:pauses                set     pauses that hold something here
# fg:{n}:spared:<rule id>      zset    "<delivery id><stage, its first letter><0|1: uncertain><place>|<domain>" -> until
#                                      when it can be undone (Unix ms)
# fg:{n}:spares                set     rules of which something is spared here
# fg:{n}:cancels               hash    delivery id -> since when its worker is to cancel it (Unix ms) | author
# fg:{n}:rec                   hash    delivery id -> times its claim was lost (1 byte), msgpack Record
# fg:{n}:content               hash    message id -> "r" raw | "z" zstd | "p" (in parts)
# fg:{n}:parts:<message id>    hash    number -> piece of a large content; expires unless accepted
# fg:{n}:refs                  hash    message id -> deliveries that need the content (absent = 1, and not in parts)
# fg:{n}:count                 hash    class -> deliveries; beside the classes accepted (their sum), rejected (at the
#                                      door, never accepted), deferred_by_rule, uncertain, undone (interceptions
#                                      that an undo took back)
# fg:{n}:tag:<tag>             hash    the same of deliveries with the tag; epoch (no other hash of the tag here had it)
# fg:{n}:tag:<tag> NUL <tenant>  hash  the same of those of one tenant; they are in the tag's own hash as well
# fg:{n}:rule:<id>             hash    class -> deliveries that the rule met
# fg:{n}:rate:<brake>:<tag>    hash    of a tag that a brake watches (named as its counter): "n<bucket>" -> deliveries
#                                      that count, "h<bucket>" -> failures; a window long
# fg:{n}:rates                 zset    "<brake>:<tag>" -> when it was counted last (Unix ms); dropped by the process
#                                      that pulls brakes; a month after the last count
# fg:{n}:ended:<hour>          hash    delivery id -> status, NUL, msgpack Final; `status.retention` beyond its hour.
#                                      d(elivered) | b(ounced) | e(xpired) | c:<uncertain> |
#                                      i:<stage>:<uncertain>:<rule>. Also digest (8 bytes) -> msgpack Common: what
#                                      finals name by it; "commons:<session>" -> how many of these it has written
# fg:{n}:ingest                hash    session -> "n<last batch that ran>" | "v<voided>" | "x<Unix ms of its death>"
#                                      (for an hour); "c:<session>" -> number up to which its claims were recalled
# fg:{n}:idem:<name>           string  an idempotent call (mta/redis_store/kept_calls.py); gone with its time
# fg:{n}:answer:<name>         string  an order with an idempotency key (steps/answers.lua): its hash, "." and who works
#                                      on it (a minute), or "=" and its answer, sealed; gone with its time
# fg:{n}:idem_use              hash    number of five minutes since 1970 -> bytes of the calls that go before their end;
#                                      past ones are dropped by processes that look how much is kept
# fg:{n}:events                stream  the outbox: e = events of a step, each behind its length (4 bytes); s = places
#                                      (2 bytes) of those that do not count; trimmed behind the spool


def lane_key(lane: int, name: bytes) -> bytes:
    return b"fg:{%d}:%b" % (lane, name)


def due_key(prefix: bytes, place: bytes, domain: bytes) -> bytes:
    return b"%bdue:%b:%b" % (prefix, place, domain)


def queue_of(name: bytes) -> tuple[bytes, bytes]:
    """(place, domain) of "<place>:<domain>". Either may hold ":" itself: a pool of one IPv6 address ("@2001:db8::1"),
    and an address literal ("[IPv6:2001:db8::1]"), which alone has brackets."""
    at = name.find(b":[") if name.endswith(b"]") else name.rfind(b":")
    return name[:at], name[at + 1 :]


def agenda_key(prefix: bytes, place: bytes) -> bytes:
    return b"%bagenda:%b" % (prefix, place)


def shares_key(prefix: bytes, pool: bytes) -> bytes:
    return b"%bshares:%b" % (prefix, pool)


@functools.lru_cache(maxsize=4096)
def queue_keys(prefix: bytes, queue: QueueKey, share: str) -> tuple[bytes, ...]:
    """The keys that change where a delivery enters or leaves the queue of a share."""
    pool, domain = queue
    place = place_of(pool, share).encode()
    found = due_key(prefix, place, domain.encode()), agenda_key(prefix, place)
    return (*found, shares_key(prefix, pool.encode())) if share else found


def held_key(prefix: bytes, pause: bytes) -> bytes:
    return b"%bheld:%b" % (prefix, pause)


RELEASED_KEPT_MS = 30 * 86_400_000


def released_key(prefix: bytes, pause: bytes) -> bytes:
    return b"%breleased:%b" % (prefix, pause)


def spared_key(prefix: bytes, rule: bytes) -> bytes:
    return b"%bspared:%b" % (prefix, rule)


def claimed_key(prefix: bytes, session: bytes) -> bytes:
    return b"%bclaimed:%b" % (prefix, session)


def ended_key(prefix: bytes, hour: int) -> bytes:
    return b"%bended:%d" % (prefix, hour)


def tag_key(prefix: bytes, tag: bytes) -> bytes:
    return b"%btag:%b" % (prefix, tag)


TAG_EPOCH = b"epoch"  # the field of a tag's hash that is no counter


def tag_rate_key(prefix: bytes, brake: str, name: str) -> bytes:
    return b"%brate:%b" % (prefix, f"{brake}:{name}".encode())


def rates_key(prefix: bytes) -> bytes:
    return prefix + b"rates"


def rule_key(prefix: bytes, rule: bytes) -> bytes:
    return b"%brule:%b" % (prefix, rule)


def idem_key(prefix: bytes, name: bytes) -> bytes:
    return b"%bidem:%b" % (prefix, name)


def answer_key(prefix: bytes, name: bytes) -> bytes:
    return b"%banswer:%b" % (prefix, name)


def idem_use_key(prefix: bytes) -> bytes:
    return prefix + b"idem_use"


# Rules and sessions
RULES_HEAD = (
    # hash: generation, change, regained (generation up to which lost changes were regained), epoch and born as in
    # fg:{n}:lane
    b"fg:{rules}:head"
)
RULES_TABLE = b"fg:{rules}:table"  # hash: rule id -> msgpack Rule
RULES_IDS = b"fg:{rules}:ids"  # hash: kind of a pause, selectors (canonical JSON) -> rule id; "hold <id>" -> id
RULES_CHANGES = (
    b"fg:{rules}:changes"  # stream, id <generation>-0: op, change, id, rule, by, at (was); the audit, ~20,000 long.
    # Of a part of a set `id` is the set's and `rule` is empty: its rules are in RULES_PARTS
)
RULES_PARTS = b"fg:{rules}:parts"  # stream, id <generation>-0: rules of a part of a set (see rules_set.lua); 1,000 long
RULES_EVENTS = (
    b"fg:{rules}:events"  # stream: the lane of the rule table, see fg:{n}:events; ~20,000 that are counted are kept
)
RULES_CANCELS = (
    b"fg:{rules}:cancels"  # stream: m = id (message or delivery), by = author; told with confirmations, ~100,000 long
)
RULES_SESSIONS = b"fg:{rules}:sessions"  # hash: session -> msgpack (see rules.lua)
RULES_BUILDS = b"fg:{rules}:builds"  # hash: session -> JSON Build; of those that say; gone with the session
# An order's id is that of its rule, or of the set that it made.
RULES_EFFECTS = b"fg:{rules}:effects"  # hash: order id -> "<generation>|<msgpack Effective>"
RULES_SWEEPS = b"fg:{rules}:sweeps"  # hash: order id -> "<owner>|<until, Unix ms>|<msgpack SweepState>"

RULES_COMPLETED = b"fg:{rules}:completed"  # hash: order id -> generation whose sweep is done


def past_key(order: str) -> bytes:
    """hash: delivery id -> msgpack PastDot, `=<delivery id>` -> when it was settled; a week."""
    return b"fg:{rules}:past:" + order.encode()


def removed_key(rule: str) -> bytes:
    """hash of a removed rule: rule, at (Unix ms), effects and sweeps as they were, lifted (effect of the removal); for
    `status.retention`."""
    return b"fg:{rules}:removed:" + rule.encode()


RULES_CANARY = b"fg:{rules}:canary"  # string: the node that gave the last canary order; until the next is due
RULES_CANARY_LAST = b"fg:{rules}:canary:last"  # string: JSON CanaryFlight; an hour
PREVIEWS = b"fg:{rules}:previews"  # zset: id of a preview that is not counted yet -> when it was asked for (Unix ms)


def preview_key(preview_id: str) -> bytes:
    """hash of a preview: state (msgpack Preview), owner and until (Unix ms) of its count; ten minutes."""
    return b"fg:{rules}:preview:" + preview_id.encode()


RULES_RELEASES = b"fg:{rules}:releases"  # hash: pause -> msgpack StagedRelease, the last of the pause


def set_key(set_id: str) -> bytes:
    """hash of a set: about (msgpack RuleSet), last (generation), rules (how many stand as it made them), generation ->
    msgpack [ids made, ids removed]; effects and sweeps once no rule stands so; then for `status.retention`."""
    return b"fg:{rules}:set:" + set_id.encode()


# The journal
JOURNAL_OWNER = b"fg:{journal}:owner"  # hash: lane, "rules" -> "<journal>|<until, Unix ms>"
# hash: lane ("rules": that of the rule table) -> last entry that is in the spool of the journal that has the lease;
# "rules.<node>" -> last entry of the rule table's lane that is in the spool of that node
JOURNAL_POSITION = b"fg:{journal}:position"
JOURNAL_STATES = b"fg:{journal}:states"  # hash: node -> JSON [pid, told at (Unix ms), figures] of its journal
JOURNAL_ERASURES = b"fg:{journal}:erasures"  # hash: id -> JSON Erasure that is under way; an hour
JOURNAL_SKIPS = b"fg:{journal}:skips"  # set: lanes whose missing events history is to give up; an hour
TAIL = b"fg:{journal}:tail"  # stream: log lines for watchers, ~10,000 long, written only while TAIL_WATCHED exists
TAIL_WATCHED = b"fg:{journal}:watched"  # string: Unix ms since which somebody watches; a minute


def erased_key(erasure: str) -> bytes:
    """hash: node -> JSON ErasureReport; an hour."""
    return f"fg:{{journal}}:erased:{erasure}".encode()


def tls_key(day: int) -> bytes:
    """hash: "<domain>|<policy>|<mx>|<result>" -> sessions of that UTC day (since 1970-01-01); 30 days."""
    return b"fg:{tls}:%d" % day


LINKS_DROPPED = b"fg:{links}:dropped"  # string: opens and clicks that found no room while the store was away


def links_key(day: int) -> bytes:
    """hash: "<tenant> <0|1: machine> <link>" -> clicks of that UTC day (since 1970-01-01); 30 days."""
    return b"fg:{links}:%d" % day


# Cluster-wide settings
# hash: lanes, max_staleness, schema, id (random), emptied_at (Unix ms; until an operator has acknowledged it),
# history ("<node>|<identity of its data folder>": the node whose files are the history), seal (fingerprint of the
# cluster's key; once something was sealed), tracking (the secret of links in tracked mail, sealed)
META_SETTINGS = b"fg:{meta}:settings"
# hash: token id -> SHA-256 of its text, msgpack ApiToken; "admin:<node>" -> SHA-256 of the administrator's token of the
# node; version -> random, another one with each change
META_TOKENS = b"fg:{meta}:tokens"
# hash: key id -> msgpack SealedKey; version -> "<number>|<random>", another one with each change
META_DKIM = b"fg:{meta}:dkim"
META_DKIM_CHANGES = b"fg:{meta}:dkim:changes"  # zset: key id, also of a removed key -> number of its last change
META_DKIM_LOOKS = b"fg:{meta}:dkim:looks"  # hash: key id -> JSON RecordLook, the last one
META_DKIM_LOOKER = b"fg:{meta}:dkim:looker"  # string: the process that looks at the records in DNS; seconds
# hash: name of a reply entry -> JSON ReplyEntry; version -> "<number>|<random>", another one with each change
META_REPLIES = b"fg:{meta}:replies"
META_REPLIES_CHANGES = b"fg:{meta}:replies:changes"  # zset: name, also of a removed entry -> number of its last change
META_UNKNOWN_REPLIES = b"fg:{meta}:replies:unknown"  # zset: JSON UnknownReply -> how often it came
META_UNKNOWN_SEEN = b"fg:{meta}:replies:unknown:seen"  # zset: the same -> when it came last (Unix ms)
# hash: id of a limit order -> JSON LimitOrder; version -> "<number>|<random>", another one with each change
META_LIMIT_ORDERS = b"fg:{meta}:limit_orders"
META_LIMIT_ORDERS_CHANGES = b"fg:{meta}:limit_orders:changes"  # zset: id, also of a removed order -> its last change
# hash: brake id -> JSON Brake; version -> "<number>|<random>", another one with each change
META_BRAKES = b"fg:{meta}:brakes"
META_BRAKES_CHANGES = b"fg:{meta}:brakes:changes"  # zset: brake id, also of a removed one -> number of its last change
META_BRAKE_PULLS = b"fg:{meta}:brakes:pulls"  # hash: "<brake> NUL <number> NUL <tag's counter>" -> JSON Pull
META_BRAKE_LEADER = b"fg:{meta}:brakes:leader"  # string: the process that pulls brakes; seconds
# hash: id of a webhook endpoint -> JSON Endpoint, its secrets sealed; version -> "<number>|<random>", another one with
# each change
META_WEBHOOKS = b"fg:{meta}:webhooks"
META_WEBHOOKS_CHANGES = (
    b"fg:{meta}:webhooks:changes"  # zset: id, also of a removed endpoint -> number of its last change
)
META_WEBHOOKS_FIGURES = (
    b"fg:{meta}:webhooks:figures"  # hash: id of an endpoint -> JSON EndpointFigures, told each second
)
META_WEBHOOKS_SERVERS = b"fg:{meta}:webhooks:servers"  # zset: process that serves endpoints -> until when (Unix ms)


def webhook_lease_key(endpoint: str) -> bytes:
    """string: the process that serves the endpoint; seconds."""
    return f"fg:{{meta}}:webhooks:lease:{endpoint}".encode()


META_PAUSE_WISHES = b"fg:{meta}:pause_wishes"  # hash: id of a wish -> JSON PauseWish of a reaction, until it is ordered
META_NODES = b"fg:{meta}:nodes"  # hash: node name -> JSON NodeEntry of the node that uses it; gone with its goodbye
META_POOLS = b"fg:{meta}:pools"  # hash: "=<name>" -> JSON of model.pools.SharedPool; version -> "<number>|<random>"
META_POOLS_CHANGES = b"fg:{meta}:pools:changes"  # zset: "=<name>", also of a removed pool -> number of its last change
# hash: "<tenant>/<name>" -> JSON model.templates.Template; bytes -> size of the parts of all templates
META_TEMPLATES = b"fg:{meta}:templates"
META_LIMITS = b"fg:{meta}:limits"  # set: "<site> NUL <scope>" of which slots were ever taken
META_SITES = (
    b"fg:{meta}:sites"  # hash: domain -> "<until, Unix ms> <site>": the site that its MX hosts were found to be
)

# Suppressions
# hash: number (of announcements), removed (how many suppressions were), born (random)
SUPPRESSIONS_HEAD = b"fg:{supp}:head"
SUPPRESSIONS_CHANGES = (
    b"fg:{supp}:changes"  # stream, id <number>-0: p = fingerprints of new ones, t = when (Unix ms); ~600 long
)


def suppressions_key(share: int) -> bytes:
    """hash: "<address or domain> NUL <tenant> NUL <topic>" -> msgpack Suppression. The share is a hash of the first."""
    return b"fg:{supp:%d}:entries" % share


def suppression_ends_key(share: int) -> bytes:
    """zset: the name of a suppression that expires -> when (Unix ms)."""
    return b"fg:{supp:%d}:ends" % share


META_STS = b"fg:{meta}:sts"  # hash: domain -> msgpack StsPolicy (MTA-STS); dropped after it has expired


def template_key(template: str) -> bytes:
    """hash: number of a version -> JSON TemplateParts. `template` as `META_TEMPLATES` has it."""
    return b"fg:{meta}:template:" + template.encode()


def slots_name(site: str, scope: str) -> bytes:
    """The slots of a scope of a site (see `policy.shaping.Budget`), as `META_LIMITS` has them."""
    return f"{site}\0{scope}".encode()


def slots_key(name: bytes) -> bytes:
    """hash: session -> connection slots held. `name` as `slots_name` makes it."""
    site, _, scope = name.partition(b"\0")
    return b"fg:{limits:%b}:slots:%b" % (site, scope)


def slots_wanted_key(site: str) -> bytes:
    """string: a slot of the site was refused; a second."""
    return f"fg:{{limits:{site}}}:wanted".encode()


def rate_key(site: str, scope: str, kind: str) -> bytes:
    """string: the next free instant (Unix ms); lives as long as it says something."""
    return f"fg:{{limits:{site}}}:{kind}:{scope}".encode()


def reaction_key(reaction: str, site: str, scope: str) -> bytes:
    """list: "<Unix ms> <reply>" of the last replies that count, the newest first; for the reaction's time. With
    ":acting" behind it, string: a process acts on them; seconds."""
    return f"fg:{{limits:{site}}}:seen:{reaction}:{scope}".encode()


def warm_up_key(site: str, ip: str) -> bytes:
    """hash: day, date, taken, begun (`policy.warm_up.WarmUp`); 30 days after the last question of a process."""
    return f"fg:{{limits:{site}}}:warmup:{ip}".encode()


def quota_key(tenant: str) -> bytes:
    """hash: hour (Unix hours), in_hour, in_day: deliveries of the tenant that count against its quota in that hour and
    in its day (UTC); two days after the last one."""
    return f"fg:{{quota:{tenant}}}:used".encode()


# Published hints, never the truth: lane prefix | generation | session
PREVIEW_CHANNEL = b"fg:preview"  # a preview waits to be counted
RELEASE_CHANNEL = b"fg:release"  # a staged release was ordered or has changed
SLOTS_CHANNEL = b"fg:slots"  # "wanted <site>": a slot was refused; "free <site>": one was given back
WAKE_CHANNEL = b"fg:wake"
RETRY_CHANNEL = b"fg:retry"  # "<place>|<domain>": its mail was ordered to be attempted now
HEAD_CHANNEL = b"fg:head"
DEAD_CHANNEL = b"fg:dead"
ENTRY_CHANNEL = b"fg:entry"  # the key of a table of entries that changed, see entries.lua
