"""Experiments on "Can We Trust Neural Tangent Kernel Theory?" (Seleznova and Kutyniok 2021)."""

from kernelregime.experiments.papers.can_we_trust import growth, heat_maps, kappas, trained, training_drift

EXPERIMENTS = (heat_maps.EXPERIMENT, growth.EXPERIMENT, training_drift.EXPERIMENT, kappas.EXPERIMENT, trained.EXPERIMENT)
