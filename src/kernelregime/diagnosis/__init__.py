"""The main job: evidence from measurement and theory, a verdict on two axes, advice."""

from kernelregime.diagnosis import size
from kernelregime.diagnosis.crosscheck import Comparison, CrossCheck, crosscheck
from kernelregime.diagnosis.diagnose import diagnose
from kernelregime.diagnosis.inputs import load
from kernelregime.diagnosis.phase import edge_curve
from kernelregime.diagnosis.settings import Settings, Thresholds

__all__ = ["Comparison", "CrossCheck", "Settings", "Thresholds", "crosscheck", "diagnose", "edge_curve", "load", "size"]
