"""Which pictures a batch shows."""

from typing import Any

from crar_diag.agent.fused.compiling import borrowing


@borrowing
def distinct_pictures(
    first: Any, second: Any, slots: Any, picks: Any, columns: Any
) -> tuple[int, int]:
    """Number the distinct pictures of a batch, those of s before those only in s'.

    slots: `[K]` of -1, restored at the end. picks: filled with the pictures in order.
    columns: `[3, batch]`, filled with each transition's column for s, s', and s rolled by one.
    Returns how many s shows, and how many s and s' show together.
    """
    n = 0
    for j in range(first.size):
        k = first[j]
        if slots[k] < 0:
            slots[k] = n
            picks[n] = k
            n += 1
        columns[0, j] = slots[k]
    for j in range(first.size):
        columns[2, j] = columns[0, j - 1]
    of_s = n
    for j in range(second.size):
        k = second[j]
        if slots[k] < 0:
            slots[k] = n
            picks[n] = k
            n += 1
        columns[1, j] = slots[k]
    for c in range(n):
        slots[picks[c]] = -1
    return of_s, n
