"""The profile of one role as text: its functions and modules, by microseconds of CPU per message."""

from collections.abc import Iterable, Mapping, Sequence

from bench.profile_stacks import Stack, callers, counted, total
from bench.profile_stages import stage_of

_MOST = 30  # lines of a list
_LEAST = 0.002  # of a role's CPU
_WORTH = 0.02  # of all CPU: the share from which on a role has a text


def texts(cpu_us: Mapping[str, float], stacks: Mapping[str, Sequence[Stack]]) -> dict[str, str]:
    """By role, processes that do the same taken together."""
    roles: dict[str, list[str]] = {}
    for name in stacks:
        roles.setdefault(name.rstrip(" 0123456789"), []).append(name)
    whole = sum(cpu_us.values())
    found = {}
    for role, names in roles.items():
        cpu = sum(cpu_us.get(name, 0.0) for name in names)
        if cpu >= _WORTH * whole:
            scaled = [stack for name in names for stack in _scaled(stacks[name], cpu_us.get(name, 0.0))]
            found[role.replace("bench.", "")] = _text(role, len(names), cpu, scaled)
    return found


def _scaled(stacks: Sequence[Stack], cpu: float) -> Iterable[Stack]:
    """Counts turned into microseconds."""
    whole = total(stacks)
    return (stack._replace(weight=stack.weight / whole * cpu) for stack in stacks)


def _text(role: str, processes: int, cpu: float, stacks: Sequence[Stack]) -> str:
    lists = (
        ("by stage", counted(stacks, lambda stack: [stage_of(stack)])),
        ("by kind of work", counted(stacks, lambda stack: [stack.kind])),
        ("modules, C and system calls below them included", counted(stacks, lambda stack: [stack.python.path])),
        ("functions, C and system calls below them included", counted(stacks, lambda stack: [str(stack.python)])),
        ("innermost frames, also in C", counted(stacks, lambda stack: [str(stack.frames[-1])])),
        ("functions with all that they call", counted(stacks, callers)),
    )
    lines = [f"{role}: {processes} processes, {cpu:.1f} us of CPU per message"]
    for title, found in lists:
        lines += ["", title]
        shown = [(name, us) for name, us in found.items() if us >= _LEAST * cpu][:_MOST]
        lines += [f"{us:8.2f} us {us / cpu:6.1%}  {name}" for name, us in shown]
    return "\n".join(lines) + "\n"
