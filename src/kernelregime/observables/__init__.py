"""From arrays to numbers: alignment, drift, spectrum, block means, distances between functions, errors. NumPy only."""

from kernelregime.observables.alignment import alignment
from kernelregime.observables.blocks import BlockMeans, block_means
from kernelregime.observables.distance import drift, function_distance, relative_distance
from kernelregime.observables.error import classification_error, mean_squared_error, zscores
from kernelregime.observables.spectrum import Spectrum, spectrum

__all__ = [
    "BlockMeans",
    "Spectrum",
    "alignment",
    "block_means",
    "classification_error",
    "drift",
    "function_distance",
    "mean_squared_error",
    "relative_distance",
    "spectrum",
    "zscores",
]
