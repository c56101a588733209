"""Self-attention over all positions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernelregime import activations
from kernelregime._checks import fail, integer, one_of
from kernelregime.activations.angles import safe_sqrt
from kernelregime.layers.base import Layer, Reach, Shape, check_key, checked_shape
from kernelregime.layers.batch import Batch
from kernelregime.layers.convolution import alone
from kernelregime.layers.dense import Dense, check_variance
from kernelregime.layers.fields import (
    Fields,
    Squares,
    beside,
    blocks_of,
    flat,
    hidden,
    moments_of,
    own_pairs,
    positions_of,
    same_as_alone,
    squares_of,
    unflat,
)
from kernelregime.layers.logits import GROUP, NUMBERS, Block, Sampling, elementwise, largest_error
from kernelregime.layers.moments import Moments
from kernelregime.layers.scales import PARAMETERIZATIONS, Parameterization, Scale, check_kernel, scales

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
    data_fields=(*VARIANCES, "embedding_length"),
    meta_fields=(
        "channels",
        "heads",
        "key_channels",
        "value_channels",
        "scaling",
        "weights",
        "embedding",
        "embedding_channels",
        "embed_values",
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
    `sigma_p2`, enters queries and keys (and values, with `embed_values`): "none", "sum", or "concatenate" with `embedding_channels`
    channels; those of two positions are independent, or with an `embedding_length` ℓ have the correlation exp(-Σ_a |p_a - p'_a|/ℓ) over
    the axes of positions. `samples`, `seed`: at infinite width "root" with "softmax", and it alone, has no closed form: its kernels are
    averages over so many logits (rounded up to a multiple of 8; of a point with itself half as many), the same for all pairs of points.
    Their largest standard error is in the `error` and the status of the kernels.

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
    embed_values: bool = False
    embedding_length: Any = None

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
        check_variance("embedding_length", self.embedding_length, zero=False)
        if self.embedding == "none" and (self.embed_values or self.embedding_length is not None):
            raise fail("an embedding for embed_values and embedding_length", "'none'", "write embedding='sum' or 'concatenate'")
        one_of("parameterization", self.parameterization, PARAMETERIZATIONS)
        if self.parameterization == "mup" and self.scaling == "root":
            raise fail("scaling='linear' in mup: at 1/√d trained logits grow with d", "'root'", "take scaling='linear'")
        if self.parameterization == "standard":
            # the shares of weights that start at 0 are no multiples of what the layer does at initialization
            for name in VARIANCES[: 4 if self.scaling == "root" else 0] or VARIANCES[2:4]:
                check_variance(f"{name} (a variance, in the standard parameterization)", getattr(self, name), zero=False)

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
            "v": (self.heads, read if self.embed_values else n, self.value_channels),
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
            "v": of(self.sigma_v2, read if self.embed_values else n),
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
            where = self._spread(scale["p"].used(params["p"]))[None]
            read = x + where if self.embedding == "sum" else jnp.concatenate([x, jnp.broadcast_to(where, (len(x), *where.shape[1:]))], -1)
            read = replace(batch, values=read).hidden().values
        source, read = (z.reshape(len(z), -1, z.shape[-1]) for z in (read if self.embed_values else x, read))
        queries = scale["q"].used(jnp.einsum("npi,hid->nhpd", read, params["q"]))
        keys = queries if self.scaling == "linear" else scale["k"].used(jnp.einsum("npi,hid->nhpd", read, params["k"]))
        size = self.key_channels if self.scaling == "linear" else math.sqrt(self.key_channels)
        logits = jnp.einsum("nhpd,nhrd->nhpr", queries, keys) / size
        attention = self._weighed(logits, None if batch.present is None else batch.present.reshape(len(x), 1, 1, -1))
        values = scale["v"].used(jnp.einsum("npi,hid->nhpd", source, params["v"]))
        heads = jnp.einsum("nhpr,nhrd->nphd", attention, values).reshape(len(x), source.shape[1], -1)
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
        route = self._linear
        if self.scaling == "root":
            route = {"identity": self._root, "softmax": self._sampled}.get(self.weights, self._elementwise)
        found, sem = route(self._blocks(state), state)
        lead, features = positions_of(state), jnp.asarray(self.channels, state.dtype)
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
            squares = Squares(*(unflat(part, lead) for part in parts))
            ntk = None if theta is None else unflat(theta, lead)
            blocks.append(moments_of(squares, before, ntk, error=error, features=features, gaussian=True, nonnegative=False))
        # of a position with itself the angle is 0, whatever rounding left
        blocks[1:] = [replace(m, gap=jnp.where(alone(m.gap.shape, state.axes), 0, m.gap)) for m in blocks[1:]]
        return hidden(same_as_alone(replace(state, cross=blocks[0], first=blocks[1], second=blocks[2])))

    def _embedded(self, channels: int) -> int:
        return channels if self.embedding_channels is None or self.embedding == "sum" else self.embedding_channels

    def _spread(self, values: Array) -> Array:
        """Independent embeddings (*positions, channels) as such with the correlations of `embedding_length`."""
        if self.embedding_length is None:
            return values
        length = jnp.asarray(self.embedding_length, values.dtype)
        for axis, n in enumerate(values.shape[:-1]):  # an autoregression along each axis
            steps = np.subtract.outer(np.arange(n), np.arange(n))
            fresh = jnp.where(np.arange(n) > 0, jnp.sqrt(-jnp.expm1(-2 / length)), 1)[None]
            factor = fresh * jnp.where(steps >= 0, jnp.exp(-jnp.asarray(np.maximum(steps, 0), values.dtype) / length), 0)
            values = jnp.moveaxis(jnp.tensordot(factor, values, (1, axis), precision="highest"), 0, axis)
        return values

    def _apart(self, lead: Shape, dtype: Any) -> Array:
        """1 - the correlation of the embeddings of two positions, (P, P)."""
        places = np.indices(lead).reshape(len(lead), -1)
        steps = jnp.asarray(np.abs(places[:, :, None] - places[:, None]).sum(axis=0), dtype)
        return jnp.minimum(steps, 1) if self.embedding_length is None else -jnp.expm1(-steps / jnp.asarray(self.embedding_length, dtype))

    def _shares(self, features: Array, dtype: Any) -> tuple[Array, Array]:
        """What of Σ̃ is Σ, and what of it is of an embedding of variance 1."""
        if self.embedding == "concatenate":
            extra = features if self.embedding_channels is None else jnp.asarray(self.embedding_channels, dtype)
            return features / (features + extra), extra / (features + extra)
        return jnp.ones((), dtype), jnp.asarray(int(self.embedding != "none"), dtype)

    def _blocks(self, state: Fields) -> list[Block]:
        """What values, and queries and keys, read: Σ and Θ, Σ̃ and Θ̃; with what weights of "standard" add to the 2 Σ, 2 Σ̃ of "ntk"."""
        dtype, features, lead = state.dtype, state.cross.features, positions_of(state)
        share, own = self._shares(features, dtype)
        variance = jnp.asarray(self.sigma_p2, dtype)
        values, moving = self._surplus(features, features / share)
        there = None if state.present is None else beside(state, *state.present)
        correlation, size = 1 - self._apart(lead, dtype), math.prod(lead)
        blocks = []
        for name, moments in blocks_of(state).items():
            covariance, theta = flat(moments.nngp, size), None if moments.ntk is None else flat(moments.ntk, size)
            same = own * correlation.reshape(size, size, *(1,) * (covariance.ndim - 2))
            read = share * covariance + variance * same
            moved = None if theta is None else share * theta + (variance if self.parameterization == "ntk" else 1) * same
            if self.embed_values:
                known = jnp.ones((), dtype) if there is None else flat(jnp.logical_and(*there[name]), size).astype(dtype)
                covariance, theta = read * known, None if moved is None else moved * known
            if theta is not None and moved is not None:
                theta, moved = theta + values * covariance, moved + moving * read
            blocks.append(Block(covariance, theta, read, moved))
        return blocks

    def _surplus(self, features: Array, read: Array) -> tuple[Array | float, Array | float]:
        """What weights of values and outputs have beyond 2 Σ, and half of what those of queries and keys have beyond 2 Σ̃."""
        if self.parameterization == "ntk":
            return 0.0, 0.0
        q, k, v, o = (jnp.asarray(getattr(self, name), read.dtype) for name in VARIANCES[:4])
        values = (read if self.embed_values else features) / v + self.heads * self.value_channels / o - 2
        return values, 0.0 if self.scaling == "linear" else (read / q + read / k) / 2 - 1

    def _shifts(self, dtype: Any) -> tuple[Array, Array]:
        """What biases add to Σ and to Θ."""
        shift = jnp.asarray(0 if self.sigma_b2 is None else self.sigma_b2, dtype)
        return shift, shift if self.parameterization == "ntk" else jnp.asarray(int(self.sigma_b2 is not None), dtype)

    def _linear(self, blocks: list[Block], state: Fields) -> Found:
        dtype, logit = state.dtype, self._logit(state.dtype)
        maps = []
        for block, there in zip(blocks[1:], state.present or (None, None), strict=True):
            logits = jnp.moveaxis(logit * block.logits, 1, -1)  # (q, N, p)
            columns = None if there is None else there.reshape(-1, there.shape[-1]).T
            maps.append(jnp.moveaxis(self._weighed(logits, columns), -1, 1))  # (q, p, N)
        scale = jnp.asarray(self.sigma_o2 * self.sigma_v2, dtype)
        shifts = self._shifts(dtype)
        forms = ("qpi,prij,srj->qsij", "qpi,pri,sri->qsi", "qpi,pri,sri->qsi")
        sides = ((maps[0], maps[1]), (maps[0], maps[0]), (maps[1], maps[1]))
        found: list[tuple[Array, Array | None]] = []
        for form, (one, other), (covariance, theta, *_) in zip(forms, sides, blocks, strict=True):
            mixed = scale * jnp.einsum(form, one, covariance, other, precision="highest")
            ntk = None
            if theta is not None:
                ntk = scale * jnp.einsum(form, one, theta, other, precision="highest") + 2 * mixed + shifts[1]
            found.append((mixed + shifts[0], ntk))
        return found, 0.0

    def _root(self, blocks: list[Block], state: Fields) -> Found:
        """With S = Σ_pp' Σ̃Σ: Σ' = s S Σ̃ + σ_b² and Θ' = s (Σ_pp'(Σ̃Θ + ΣΘ̃) Σ̃ + S (Θ̃ + 4Σ̃)) + σ_b², s = σ_q² σ_k² σ_v² σ_o²."""
        scale = jnp.asarray(self.sigma_q2 * self.sigma_k2 * self.sigma_v2 * self.sigma_o2, state.dtype)
        shifts = self._shifts(state.dtype)
        found: list[tuple[Array, Array | None]] = []
        for covariance, theta, read, moved in blocks:
            total = jnp.sum(read * covariance, axis=(0, 1), keepdims=True)
            ntk = None
            if theta is not None and moved is not None:
                turns = jnp.sum(read * theta + covariance * moved, axis=(0, 1), keepdims=True)
                ntk = scale * (turns * read + total * (moved + 4 * read)) + shifts[1]
            found.append((scale * total * read + shifts[0], ntk))
        return found, 0.0

    def _elementwise(self, blocks: list[Block], state: Fields) -> Found:
        """With E φ(G)φ(G') at each pair of positions by itself, in closed form."""
        squares = [self._squares(moments, positions_of(state)) for moments in blocks_of(state).values()]
        found = [elementwise(activations.get(self.weights), self._turned(block), x) for block, x in zip(blocks, squares, strict=True)]
        return self._joined(found, state), 0.0

    def _sampled(self, blocks: list[Block], state: Fields) -> Found:
        """With averages over `samples` of the logits."""
        there = state.present and tuple(part.reshape(-1, part.shape[-1]) for part in state.present)
        sampling = Sampling(self._weighed, None, self.samples, self.seed)
        sampled = sampling.blocks([self._turned(block) for block in blocks], there)
        found = self._joined([(each.value, each.total) for each in sampled], state)
        return found, jnp.asarray(self.sigma_w2, state.dtype) * largest_error(sampled, found)

    def _turned(self, block: Block) -> Block:
        """With R and Ṙ of the logits."""
        logit = self._logit(block.logits.dtype)
        return block._replace(logits=logit * block.logits, moved=None if block.moved is None else logit * block.moved)

    def _joined(self, averages: Sequence[tuple[Array, Array | None]], state: Fields) -> list[tuple[Array, Array | None]]:
        """Σ' and Θ' from averages over the logits; of equal points those of the point with itself."""
        scale = jnp.asarray(self.sigma_w2, state.dtype)
        shifts = self._shifts(state.dtype)
        found = [(scale * value + shifts[0], None if total is None else scale * total + shifts[1]) for value, total in averages]
        (covariance, theta), own = found[0], found[1][1]
        if state.same is not None and theta is not None and own is not None:
            found[0] = covariance, jnp.where(state.same, own[..., None], theta)
        return found

    def _squares(self, moments: Moments, lead: Shape) -> Squares:
        """Of the covariances of the logits, to which embeddings of both points add."""
        dtype, found, size = moments.dtype, squares_of(moments), math.prod(lead)
        share, own = self._shares(moments.features, dtype)
        own = own * jnp.asarray(self.sigma_p2, dtype)
        parts = [flat(jnp.broadcast_to(x, moments.gap.shape), size) for x in (found.k1, found.k2, found.apart, found.across)]
        apart = self._apart(lead, dtype).reshape(size, size, *(1,) * (parts[0].ndim - 2))
        ones = jnp.ones_like(apart)
        return Squares(*(self._logit(dtype) * (share * x + own * y) for x, y in zip(parts, (ones, ones, apart, 2 - apart), strict=True)))

    def _logit(self, dtype: Any) -> Array:
        """σ_q σ_k."""
        return safe_sqrt(jnp.asarray(self.sigma_q2, dtype)) * safe_sqrt(jnp.asarray(self.sigma_k2, dtype))
