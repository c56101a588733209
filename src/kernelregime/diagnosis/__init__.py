"""The main job: evidence from measurement and theory, a verdict on two axes, advice."""

from kernelregime.diagnosis import size
from kernelregime.diagnosis.diagnose import diagnose
from kernelregime.diagnosis.inputs import load
from kernelregime.diagnosis.phase import edge_curve
from kernelregime.diagnosis.settings import Settings, Thresholds

__all__ = ["Settings", "Thresholds", "diagnose", "edge_curve", "load", "size"]
