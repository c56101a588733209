"""The paper, and what its experiments share."""

from kernelregime.results import Paper

PAPER = Paper(
    "beyond_infinite_width",
    "Neural Tangent Kernel Beyond the Infinite-Width Limit: Effects of Depth and Initialization",
    "Seleznova and Kutyniok, ICML 2022",
)


def near_limit(width: int, ratio: float) -> float:
    """The relative distance from a limit in width of moments at one L/M = `ratio` (λ): terms of order 1/M.

    (1 + 5/M)^(L-1) lacks (5 + 12.5 λ)/M of e^(5λ); pairs of different layers lack up to 4/M more.
    """
    return (9 + 12.5 * ratio) / width
