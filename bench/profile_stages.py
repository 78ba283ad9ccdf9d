"""The stages of a message's way through the processes, told by the files and functions on a stack."""

from bench.profile_stacks import Frame, Stack

OTHER = "other"

# A fragment of a file's path, optionally `:` and a fragment of a function's name, and the stage it belongs to. The
# innermost frame that any line fits decides, by the first line that fits it; what no line names (the Redis client,
# msgspec, grammar, ids) counts for whoever called it.
STAGES: tuple[tuple[str, str], ...] = (
    ("mta/ingress/", "intake: session"),
    ("mta/smtp/server_machine.py", "intake: SMTP machine"),
    ("mta/smtp/server_session.py", "intake: SMTP machine"),
    ("mta/smtp/verbs.py", "intake: SMTP machine"),
    ("mta/admission/submission.py", "intake: headers and route"),
    ("mta/content/", "intake: headers and route"),
    ("mta/admission/", "intake: admission"),
    ("mta/redis_store/steps/accept.py", "accept: step made"),
    ("mta/redis_store/content.py:put", "accept: step made"),
    ("mta/redis_store/queues.py:accept", "accept: call"),
    ("mta/redis_store/queues.py:_ensure_kept", "accept: call"),
    ("mta/redis_store/queues.py:agenda", "claim: agenda"),
    ("mta/redis_store/queues.py:claim", "claim: call"),
    ("mta/redis_store/content.py:get", "claim: call"),
    ("mta/redis_store/queues.py", "settle: call"),
    ("mta/scheduling/settle", "settle: decided and gathered"),
    ("mta/scheduling/", "claim: turns and rules"),
    ("mta/egress/", "transaction: outlets and connections"),
    ("mta/smtp/client_machine.py", "transaction: SMTP machine"),
    ("mta/redis_store/outbox.py", "journal: read and trim"),
    ("mta/log_file/lines.py", "journal: lines"),
    ("mta/log_file/", "journal: written"),
    ("mta/spool_files/", "journal: spooled"),
    ("mta/journal/", "journal: rounds and decoding"),
    ("mta/redis_store/subscription.py", "wake-ups"),
    ("mta/rules/", "rules and sessions: confirmed"),
    ("mta/orders/", "rules and sessions: confirmed"),
    ("mta/sweeps/", "rules and sessions: confirmed"),
    ("mta/redis_store/session.py", "rules and sessions: confirmed"),
    ("control_api/", "API"),
    ("bench/source.py", "load: source"),
    ("bench/plan.py", "load: source"),
    ("bench/sink.py", "load: sink"),
)

# Asked where no line above fits any frame: the first line that fits any decides.
AT_LAST: tuple[tuple[str, str], ...] = (
    ("redis/asyncio/", "Redis client: tasks of its own"),
    ("asyncio/streams.py", "Redis client: its streams"),
    ("libc:read", "loop: sockets read"),
    ("libc:recv", "loop: sockets read"),
    (":epoll", "loop: poll"),
    ("asyncio/runners.py", "loop: the rest"),
    ("threading.py", "loop: threads"),
)


# The functions of the server, by how they begin (without the hash in their names), and the stage that their time
# belongs to.
STEPS: tuple[tuple[str, str], ...] = (
    ("fg_accept", "accept: in the server"),
    ("fg_agenda", "claim: agenda in the server"),
    ("fg_claim", "claim: in the server"),
    ("fg_settle", "settle: in the server"),
    ("fg_note", "settle: in the server"),
    ("fg_lease", "journal: in the server"),
    ("fg_journaled", "journal: in the server"),
    ("fg_limits", "claim: limits in the server"),
    ("fg_rules", "rules and sessions: in the server"),
    ("fg_", "server: other functions"),
)


def stage_of(stack: Stack) -> str:
    """The stage that a sample belongs to."""
    for frame in reversed(stack.frames):
        for pattern, stage in STAGES:
            if _fits(pattern, frame):
                return stage
    for pattern, stage in AT_LAST:
        if any(_fits(pattern, frame) for frame in stack.frames):
            return stage
    return OTHER


def step_of(command: str) -> str:
    """The stage of a function; empty for other commands, most of which are what functions run."""
    return next((stage for start, stage in STEPS if command.startswith(start)), "")


def _fits(pattern: str, frame: Frame) -> bool:
    path, _, function = pattern.partition(":")
    return path in frame.path and function in frame.function
