"""Self-attention over all positions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernelregime import activations
from kernelregime._checks import fail, integer, one_of
from kernelregime.activations.angles import safe_sqrt
from kernelregime.layers.base import Layer, Reach, Shape, check_key, checked_shape
from kernelregime.layers.batch import Batch
from kernelregime.layers.convolution import alone
from kernelregime.layers.dense import Dense, check_variance
from kernelregime.layers.fields import Fields, Squares, blocks_of, hidden, moments_of, own_pairs, positions_of, same_as_alone, squares_of
from kernelregime.layers.logits import GROUP, NUMBERS, Block, Sampling, elementwise, largest_error
from kernelregime.layers.moments import Moments
from kernelregime.layers.scales import PARAMETERIZATIONS, Parameterization, Scale, check_kernel, scales

Thetas = list[Array | None]
Found = tuple[list[tuple[Array, Array | None]], Any]  # Σ' and Θ' of each block, and what the error grows by

WEIGHTS: dict[str, Callable[[Array], Array]] = {  # of logits (..., positions)
    "softmax": partial(jax.nn.softmax, axis=-1),
    "identity": lambda logits: logits,
    "abs": jnp.abs,
    "relu": jax.nn.relu,
}
VARIANCES = ("sigma_q2", "sigma_k2", "sigma_v2", "sigma_o2", "sigma_b2", "sigma_p2")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=VARIANCES,
    meta_fields=(
        "channels",
        "heads",
        "key_channels",
        "value_channels",
        "scaling",
        "weights",
        "embedding",
        "embedding_channels",
        "parameterization",
        "samples",
        "seed",
    ),
)
@dataclass(frozen=True)
class Attention(Layer):
    """Multi-head self-attention, for points (*positions, channels): each head gives ζ(scale · Q Kᵀ) V, and their values are joined by W_o.

    `channels`: outputs. Queries, keys and values are x W/√n with W_ij ~ N(0, σ²), σ² = `sigma_q2`, `sigma_k2`, `sigma_v2`; outputs
    have `sigma_o2` and a bias of `sigma_b2`. `parameterization` as in `Dense`, for all weights, biases and embeddings ("mup" with
    "linear" alone, after layers whose widths are the channels read). `weights`: ζ, "softmax" over the positions, "identity",
    "abs" or "relu". `scaling`: "linear" divides Q Kᵀ by the number d of key channels, with one matrix for queries and keys, whose
    logits converge; "root" by √d, with two, whose logits stay random. `embedding`: a random vector for each position, with variance
    `sigma_p2`, enters queries and keys: "none", "sum", or "concatenate" with `embedding_channels` channels. `samples`, `seed`: at
    infinite width "root" with "softmax", and it alone, has no closed form: its kernels are averages over so many logits (rounded up to
    a multiple of 8; of a point with itself half as many), the same for all pairs of points. Their largest standard error is in the
    `error` and the status of the kernels.

    At infinitely many heads and channels (Hron et al. 2020), with Σ̃ = Σ and its embedding, G = ζ(σ_q σ_k Σ̃) of each point with itself:
    "linear": Σ' = σ_o² σ_v² G Σ Gᵀ + σ_b², Θ' = σ_o² σ_v² (G Θ Gᵀ + 2 G Σ Gᵀ) + σ_b². "root": the average of the first over Gaussian
    logits, E G_ab G'_cd = σ_q² σ_k² Σ̃_ac Σ̃_bd, and of the second with what moves them (`layers.logits`). In "standard" the shares of
    weights of variance σ² with m inputs are m/σ² times as large, and σ_b² in Θ' is 1: the 2 is n/σ_v² + heads · value_channels/σ_o². With
    "linear" those of queries and keys fall as 1/d in comparison, in both. Correlations have the digits of covariances.
    """

    channels: int
    heads: int = 1
    key_channels: int = 64
    value_channels: int = 64
    sigma_q2: Any = 1.0
    sigma_k2: Any = 1.0
    sigma_v2: Any = 1.0
    sigma_o2: Any = 1.0
    sigma_b2: Any = None
    scaling: Literal["linear", "root"] = "linear"
    weights: Literal["softmax", "identity", "abs", "relu"] = "softmax"
    embedding: Literal["none", "sum", "concatenate"] = "none"
    sigma_p2: Any = 1.0
    embedding_channels: int | None = None
    samples: int = 4096
    seed: int = 0
    parameterization: Parameterization = "ntk"

    reach: ClassVar[Reach] = "all"
    grows: ClassVar[tuple[str, ...]] = ("channels", "heads", "key_channels")

    def __post_init__(self) -> None:
        for name in ("channels", "heads", "key_channels", "value_channels"):
            integer(name, getattr(self, name))
        integer("samples", self.samples, least=2 * GROUP)
        if integer("seed", self.seed, least=0) >= 2**32:  # beyond them JAX has other keys without float64
            raise fail("seed below 2**32", repr(self.seed), "give a smaller one")
        one_of("scaling", self.scaling, ("linear", "root"))
        one_of("weights", self.weights, tuple(WEIGHTS))
        one_of("embedding", self.embedding, ("none", "sum", "concatenate"))
        for name in VARIANCES:
            check_variance(f"{name} (a variance)", getattr(self, name))
        one_of("parameterization", self.parameterization, PARAMETERIZATIONS)
        if self.parameterization == "mup" and self.scaling == "root":
            raise fail("scaling='linear' in mup: at 1/√d trained logits grow with d", "'root'", "take scaling='linear'")
        if self.parameterization == "standard":
            self._check_shares()

    def _check_shares(self) -> None:
        """`InputError` for weights that start at 0, whose shares are not multiples of what the layer does at initialization."""
        for name in VARIANCES[: 4 if self.scaling == "root" else 0] or VARIANCES[2:4]:
            value = getattr(self, name)
            if isinstance(value, int | float) and value == 0:
                raise fail(f"{name} above 0 in the standard parameterization", "0", "give a small one, or parameterization='ntk'")

    @property
    def numbers_per_pair(self) -> int:
        """How many numbers sampling needs for a pair of positions of a pair of points at one time."""
        return NUMBERS if self.scaling == "root" and self.weights == "softmax" else 0

    @property
    def sigma_w2(self) -> Any:
        """The variance of the product of output and value weights."""
        return self.sigma_o2 * self.sigma_v2

    def output_shape(self, shape: Shape) -> Shape:
        """(*positions, channels)."""
        if len(shape) < 2:
            raise fail("points (*positions, channels)", f"shape {shape}", "reshape x, channels last")
        return (*shape[:-1], self.channels)

    def init(self, key: Array, shape: Shape, dtype: Any = None) -> dict[str, Array]:
        """Weights "q", "k", "v" (heads, n, d), "o" (heads · values, channels), "b", and "p" (*positions, embedding channels)."""
        check_key(key)
        shape = checked_shape(shape)
        self.output_shape(shape)  # which refuses points without positions
        n, extra = shape[-1], self._embedded(shape[-1])
        read = n + extra if self.embedding == "concatenate" else n
        sizes: dict[str, Shape] = {
            "q": (self.heads, read, self.key_channels),
            "v": (self.heads, n, self.value_channels),
            "o": (self.heads * self.value_channels, self.channels),
        }
        if self.scaling == "root":
            sizes["k"] = sizes["q"]
        if self.embedding != "none":
            sizes["p"] = (*shape[:-1], extra)
        if self.sigma_b2 is not None:
            sizes["b"] = (self.channels,)
        dtype = jnp.result_type(float) if dtype is None else dtype
        keys = jax.random.split(key, len(sizes))
        start = self._scales(n, read)
        return {name: start[name].drawn(jax.random.normal(k, size, dtype)) for k, (name, size) in zip(keys, sizes.items(), strict=True)}

    def _scales(self, n: int, read: int) -> dict[str, Scale]:
        """Of all that is trained, for values of n channels, and queries and keys of `read`."""

        def of(variance: Any, inputs: int, *, bias: bool = False) -> Scale:
            """Biases with so many of them."""
            layer = Dense(1, variance, variance, self.parameterization)
            return scales(layer, inputs, inputs)[int(bias)]

        queries, keys, tied = self.sigma_q2, self.sigma_k2, self.scaling == "linear"
        if tied:  # one matrix, of the geometric mean
            queries = keys = jnp.sqrt(queries) * jnp.sqrt(keys)
        return {
            "q": of(queries, read),
            "k": of(keys, read),
            "v": of(self.sigma_v2, n),
            "o": of(self.sigma_o2, self.heads * self.value_channels),
            "b": of(0.0 if self.sigma_b2 is None else self.sigma_b2, self.channels, bias=True),
            "p": of(self.sigma_p2, max(self._embedded(n), 1), bias=True),
        }

    def apply(self, params: dict[str, Array], x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The outputs at each position."""
        return self.apply_batch(params, Batch(x)).values

    def apply_batch(self, params: dict[str, Array], batch: Batch) -> Batch:
        """The outputs at each position that is there, from what is there."""
        x = batch.hidden().values
        scale = self._scales(x.shape[-1], params["q"].shape[1])
        read = x
        if self.embedding != "none":
            where = scale["p"].used(params["p"])[None]
            read = x + where if self.embedding == "sum" else jnp.concatenate([x, jnp.broadcast_to(where, (len(x), *where.shape[1:]))], -1)
        flat, read = (z.reshape(len(z), -1, z.shape[-1]) for z in (x, read))
        queries = scale["q"].used(jnp.einsum("npi,hid->nhpd", read, params["q"]))
        keys = queries if self.scaling == "linear" else scale["k"].used(jnp.einsum("npi,hid->nhpd", read, params["k"]))
        size = self.key_channels if self.scaling == "linear" else math.sqrt(self.key_channels)
        logits = jnp.einsum("nhpd,nhrd->nhpr", queries, keys) / size
        attention = self._weighed(logits, None if batch.present is None else batch.present.reshape(len(x), 1, 1, -1))
        values = scale["v"].used(jnp.einsum("npi,hid->nhpd", flat, params["v"]))
        heads = jnp.einsum("nhpr,nhrd->nphd", attention, values).reshape(len(x), flat.shape[1], -1)
        out = scale["o"].used(heads @ params["o"]).reshape(*x.shape[:-1], self.channels)
        if self.sigma_b2 is not None:
            out = out + scale["b"].used(params["b"]).reshape((1,) * (out.ndim - 1) + (-1,))
        return replace(batch, values=out).hidden()

    def _weighed(self, logits: Array, there: Array | None) -> Array:
        """ζ of logits (..., positions); a softmax over those that are there."""
        if there is not None and self.weights == "softmax":
            logits = jnp.where(there, logits, jnp.finfo(logits.dtype).min)
        return WEIGHTS[self.weights](logits)

    def propagate(self, state: Any) -> Any:
        """Σ' and Θ' as in the class's text."""
        check_kernel(self)
        if not isinstance(state, Fields) or state.first is None or state.second is None:
            raise fail("points with positions", "none", "give points (N, *positions, channels)")
        size = math.prod(positions_of(state))
        covariances = [_flat(m.nngp, size) for m in (state.cross, state.first, state.second)]
        thetas = [None if m.ntk is None else _flat(m.ntk, size) for m in (state.cross, state.first, state.second)]
        route = self._linear
        if self.scaling == "root":
            route = {"identity": self._root, "softmax": self._sampled}.get(self.weights, self._elementwise)
        features = state.cross.features
        moved = [None if theta is None else self._moved(k, theta, features) for k, theta in zip(covariances, thetas, strict=True)]
        thetas = [None if theta is None else self._own(k, theta, features) for k, theta in zip(covariances, thetas, strict=True)]
        found, sem = route(covariances, thetas, moved, state)
        lead = positions_of(state)
        error = jnp.maximum(jnp.maximum(state.cross.error, state.first.error), state.second.error) + sem
        variances = [own_pairs(covariance, 1) for covariance, _ in found[1:]]
        blocks = []
        for before, (covariance, theta), one, other in zip(
            (state.cross, state.first, state.second),
            found,
            (variances[0][:, None, :, None], variances[0][:, None, :], variances[1][:, None, :]),
            (variances[1][None, :, None, :], variances[0][None, :, :], variances[1][None, :, :]),
            strict=True,
        ):
            middle = (one + other) / 2
            parts = (one, other, middle - covariance, middle + covariance)
            squares = Squares(*(_unflat(part, lead) for part in parts))
            features = jnp.asarray(self.channels, covariance.dtype)
            ntk = None if theta is None else _unflat(theta, lead)
            blocks.append(moments_of(squares, before, ntk, error=error, features=features, gaussian=True, nonnegative=False))
        # of a position with itself the angle is 0, whatever rounding left
        blocks[1:] = [replace(m, gap=jnp.where(alone(m.gap.shape, state.axes), 0, m.gap)) for m in blocks[1:]]
        return hidden(same_as_alone(replace(state, cross=blocks[0], first=blocks[1], second=blocks[2])))

    def _embedded(self, channels: int) -> int:
        return channels if self.embedding_channels is None or self.embedding == "sum" else self.embedding_channels

    def _read(self, covariance: Array, features: Array, variance: Any = None) -> Array:
        """Σ̃, what queries and keys read: positions of their own add to equal positions."""
        if self.embedding == "none":
            return covariance
        share, own = self._shares(features, covariance.dtype, variance)
        eye = jnp.eye(covariance.shape[0], dtype=covariance.dtype)
        return share * covariance + own * eye.reshape(*eye.shape, *(1,) * (covariance.ndim - 2))

    def _shares(self, features: Array, dtype: Any, variance: Any = None) -> tuple[Array, Array]:
        """What of Σ̃ is Σ, and what an embedding, of `sigma_p2` or of another `variance`, adds to equal positions."""
        if self.embedding == "none":
            return jnp.ones((), dtype), jnp.zeros((), dtype)
        share, own = jnp.ones((), dtype), jnp.asarray(self.sigma_p2 if variance is None else variance, dtype)
        if self.embedding == "concatenate":
            extra = features if self.embedding_channels is None else self.embedding_channels
            share, own = features / (features + extra), own * extra / (features + extra)
        return share, own

    def _own(self, covariance: Array, theta: Array, features: Array) -> Array:
        """Θ of the values, with what output and value weights of "standard" add to the 2 Σ that are theirs in "ntk"."""
        if self.parameterization == "ntk":
            return theta
        values, outputs = (jnp.asarray(x, theta.dtype) for x in (self.sigma_v2, self.sigma_o2))
        return theta + (features / values + self.heads * self.value_channels / outputs - 2) * covariance

    def _moved(self, covariance: Array, theta: Array, features: Array) -> Array:
        """Θ̃, with half of what the weights of queries and keys add to their 2 Σ̃."""
        if self.parameterization == "ntk" or self.scaling == "linear":
            return self._read(theta, features)
        queries, keys = (jnp.asarray(x, theta.dtype) for x in (self.sigma_q2, self.sigma_k2))
        inputs = features / self._shares(features, theta.dtype)[0]
        return self._read(theta, features, 1.0) + ((inputs / queries + inputs / keys) / 2 - 1) * self._read(covariance, features)

    def _shifts(self, dtype: Any) -> tuple[Array, Array]:
        """What biases add to Σ and to Θ."""
        shift = jnp.asarray(0 if self.sigma_b2 is None else self.sigma_b2, dtype)
        return shift, shift if self.parameterization == "ntk" else jnp.asarray(int(self.sigma_b2 is not None), dtype)

    def _linear(self, covariances: list[Array], thetas: Thetas, moved: Thetas, state: Fields) -> Found:
        dtype = covariances[0].dtype
        logit = jnp.sqrt(jnp.asarray(self.sigma_q2, dtype)) * jnp.sqrt(jnp.asarray(self.sigma_k2, dtype))
        maps = []
        for covariance, there in zip(covariances[1:], state.present or (None, None), strict=True):
            logits = jnp.moveaxis(logit * self._read(covariance, state.cross.features), 1, -1)  # (q, N, p)
            columns = None if there is None else there.reshape(-1, there.shape[-1]).T
            maps.append(jnp.moveaxis(self._weighed(logits, columns), -1, 1))  # (q, p, N)
        scale = jnp.asarray(self.sigma_o2 * self.sigma_v2, dtype)
        shifts = self._shifts(dtype)
        forms = ("qpi,prij,srj->qsij", "qpi,pri,sri->qsi", "qpi,pri,sri->qsi")
        sides = ((maps[0], maps[1]), (maps[0], maps[0]), (maps[1], maps[1]))
        found: list[tuple[Array, Array | None]] = []
        for form, (one, other), covariance, theta in zip(forms, sides, covariances, thetas, strict=True):
            mixed = scale * jnp.einsum(form, one, covariance, other, precision="highest")
            ntk = None
            if theta is not None:
                ntk = scale * jnp.einsum(form, one, theta, other, precision="highest") + 2 * mixed + shifts[1]
            found.append((mixed + shifts[0], ntk))
        return found, 0.0

    def _root(self, covariances: list[Array], thetas: Thetas, moved: Thetas, state: Fields) -> Found:
        """With S = Σ_pp' Σ̃Σ: Σ' = s S Σ̃ + σ_b² and Θ' = s (Σ_pp'(Σ̃Θ + ΣΘ̃) Σ̃ + S (Θ̃ + 4Σ̃)) + σ_b², s = σ_q² σ_k² σ_v² σ_o²."""
        dtype = covariances[0].dtype
        scale = jnp.asarray(self.sigma_q2 * self.sigma_k2 * self.sigma_v2 * self.sigma_o2, dtype)
        shifts = self._shifts(dtype)
        found: list[tuple[Array, Array | None]] = []
        for covariance, theta, turned in zip(covariances, thetas, moved, strict=True):
            read = self._read(covariance, state.cross.features)
            total = jnp.sum(read * covariance, axis=(0, 1), keepdims=True)
            ntk = None
            if theta is not None and turned is not None:
                turns = jnp.sum(read * theta + covariance * turned, axis=(0, 1), keepdims=True)
                ntk = scale * (turns * read + total * (turned + 4 * read)) + shifts[1]
            found.append((scale * total * read + shifts[0], ntk))
        return found, 0.0

    def _elementwise(self, covariances: list[Array], thetas: Thetas, moved: Thetas, state: Fields) -> Found:
        """With E φ(G)φ(G') at each pair of positions by itself, in closed form."""
        blocks, size = self._blocks(covariances, thetas, moved, state), math.prod(positions_of(state))
        squares = [self._squares(moments, size) for moments in blocks_of(state).values()]
        found = [elementwise(activations.get(self.weights), *each) for each in zip(blocks, squares, strict=True)]
        return self._joined(found, state), 0.0

    def _sampled(self, covariances: list[Array], thetas: Thetas, moved: Thetas, state: Fields) -> Found:
        """With averages over `samples` of the logits."""
        there = state.present and tuple(part.reshape(-1, part.shape[-1]) for part in state.present)
        sampling = Sampling(self._weighed, None, self.samples, self.seed)
        sampled = sampling.blocks(self._blocks(covariances, thetas, moved, state), there)
        found = self._joined([(each.value, each.total) for each in sampled], state)
        scale = jnp.asarray(self.sigma_w2, covariances[0].dtype)
        return found, scale * largest_error(sampled, found)

    def _blocks(self, covariances: list[Array], thetas: Thetas, moved: Thetas, state: Fields) -> list[Block]:
        """What `layers.logits` averages over."""
        logit, features = self._logit(state.dtype), state.cross.features
        return [
            Block(covariance, theta, logit * self._read(covariance, features), None if turned is None else logit * turned)
            for covariance, theta, turned in zip(covariances, thetas, moved, strict=True)
        ]

    def _joined(self, averages: Sequence[tuple[Array, Array | None]], state: Fields) -> list[tuple[Array, Array | None]]:
        """Σ' and Θ' from averages over the logits; of equal points those of the point with itself."""
        scale = jnp.asarray(self.sigma_w2, state.dtype)
        shifts = self._shifts(state.dtype)
        found = [(scale * value + shifts[0], None if total is None else scale * total + shifts[1]) for value, total in averages]
        (covariance, theta), own = found[0], found[1][1]
        if state.same is not None and theta is not None and own is not None:
            found[0] = covariance, jnp.where(state.same, own[..., None], theta)
        return found

    def _squares(self, moments: Moments, size: int) -> Squares:
        """Of the covariances of the logits: an embedding is the same at one position of both points, another at two positions."""
        dtype, found = moments.dtype, squares_of(moments)
        share, own = self._shares(moments.features, dtype)
        parts = [_flat(jnp.broadcast_to(x, moments.gap.shape), size) for x in (found.k1, found.k2, found.apart, found.across)]
        eye = jnp.eye(size, dtype=dtype).reshape(size, size, *(1,) * (parts[0].ndim - 2))
        ones = jnp.ones_like(eye)
        return Squares(*(self._logit(dtype) * (share * x + own * y) for x, y in zip(parts, (ones, ones, 1 - eye, 1 + eye), strict=True)))

    def _logit(self, dtype: Any) -> Array:
        """σ_q σ_k."""
        return safe_sqrt(jnp.asarray(self.sigma_q2, dtype)) * safe_sqrt(jnp.asarray(self.sigma_k2, dtype))


def _flat(x: Array, size: int) -> Array:
    """(*P, *P', ...) as (p, p', ...)."""
    batch = x.shape[-2:] if x.ndim % 2 == 0 else x.shape[-1:]
    return x.reshape(size, size, *batch)


def _unflat(x: Array, lead: Shape) -> Array:
    """(p, p', ...) as (*P, *P', ...), with ones for an axis of one."""
    ones = (1,) * len(lead)
    first, second = (lead if x.shape[axis] == math.prod(lead) and x.shape[axis] > 1 else ones for axis in (0, 1))
    return x.reshape(*first, *second, *x.shape[2:])
