"""What every layer declares."""

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Array, Float

from kernelregime.layers.moments import Moments

Shape = tuple[int, ...]


class Layer(ABC):
    """One layer, at finite and at infinite width. Data and parameters arrive in the calls; the layer holds hyperparameters only."""

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one point after the layer, from its shape before."""

    @abstractmethod
    def init(self, key: Array, shape: Shape, dtype: Any = None) -> Any:
        """Random parameters (a pytree) for points of this shape; `dtype` defaults to JAX's current float."""

    @abstractmethod
    def apply(self, params: Any, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The layer at finite width, for a batch of points."""

    @abstractmethod
    def propagate(self, moments: Moments) -> Moments:
        """The layer at infinite width: second moments and NTK after it, from those before."""
