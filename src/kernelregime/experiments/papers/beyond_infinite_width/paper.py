"""The paper, and what its experiments share."""

from kernelregime.results import Paper

PAPER = Paper(
    "beyond_infinite_width",
    "Neural Tangent Kernel Beyond the Infinite-Width Limit: Effects of Depth and Initialization",
    "Seleznova and Kutyniok, ICML 2022",
)


def near_limit(width: int) -> float:
    """The relative distance from a limit in width at which a network of this width is said to have reached it: terms of order 1/M."""
    return 10 / width
