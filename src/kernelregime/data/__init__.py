"""Data sets as arrays: the handwritten digits, published images and text, files (.npz, .csv), toy data with a known teacher, and arrays
of one's own.
"""

from kernelregime.data.dataset import Dataset, Points
from kernelregime.data.load import from_arrays, load, names, points
from kernelregime.data.scaling import SCALINGS
from kernelregime.data.targets import CODINGS
from kernelregime.data.text import Words, words

__all__ = ["CODINGS", "SCALINGS", "Dataset", "Points", "Words", "from_arrays", "load", "names", "points", "words"]
