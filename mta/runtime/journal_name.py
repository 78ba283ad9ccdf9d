"""The name under which a journal process leases lanes; the supervisor gives them up for one that died."""


def journal_name(node: str, pid: int) -> str:
    return f"{node}.{pid}"
