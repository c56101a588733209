"""Memory budgets in bytes."""

import os
from pathlib import Path

from kernelregime._checks import real

FRACTION = 0.5  # of the free memory, when no budget is given


def free_memory() -> int:
    """Bytes free now: on the default device where it reports them, else on the host (what the kernel can give without swapping)."""
    import jax

    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # macOS has no count of available pages: take half of what is installed.
    return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES")) // 2


def memory_budget(memory: float | None) -> int:
    """`memory` checked (1e9 is a number of bytes too), or by default `FRACTION` of the free memory (bytes)."""
    if memory is None:
        return int(FRACTION * free_memory())
    return int(real("memory (bytes)", memory, least=1))
