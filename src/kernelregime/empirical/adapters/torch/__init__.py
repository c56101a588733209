"""PyTorch modules: their finite-width neural tangent kernel, computed in torch."""

from kernelregime.empirical.adapters.torch.module import TorchModel, as_model

__all__ = ["TorchModel", "as_model"]
