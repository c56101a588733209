"""The state of torch while a kernel is computed: everything that belongs to the process or the thread is put back afterwards."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

# Modules are computed one at a time: `functional_call` exchanges the parameters in the module itself, and what is set below is global.
_LOCK = threading.RLock()


@contextmanager
def computing(dtype: np.dtype, device: torch.device) -> Iterator[None]:
    """Gradients on, automatic casts off, new tensors in `dtype`, and attention by matrix products.

    The fused kernels of attention have no forward derivative and no rule for `vmap`; the fast path of `nn.TransformerEncoderLayer` has
    no derivative at all. cuDNN has none of a recurrent layer in eval mode, and rounds float32 to TF32.
    """
    with _LOCK, ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(real(dtype))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # `vmap` goes point by point in one operation
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)  # torch's own use, by forward derivatives
        yield


def real(dtype: np.dtype) -> torch.dtype:
    """The dtype of torch of this name."""
    return {"float32": torch.float32, "float64": torch.float64}[np.dtype(dtype).name]
