import gc
import weakref

import jax.numpy as jnp
import numpy as np

from kernelregime import empirical
from kernelregime.empirical.compiled import PROGRAMS, Kept


class Owner:
    def method(self):
        return self

    def other(self):
        return self


def test_value_is_built_once_for_every_owner_and_key():
    kept, built = Kept(), []
    owners = [Owner(), Owner()]
    for _ in range(2):
        for owner in owners:
            for key in "ab":
                kept.get(owner, key, lambda reference, key=key: built.append((reference(), key)))
    assert built == [(owner, key) for owner in owners for key in "ab"]


def test_bound_methods_of_one_object_are_one_owner_each():
    kept, owner = Kept(), Owner()
    first = kept.get(owner.method, "key", lambda reference: reference()())
    assert first is owner
    assert kept.get(owner.method, "key", lambda reference: "another") is owner
    assert kept.get(owner.other, "key", lambda reference: "of the other method") == "of the other method"


def test_values_go_with_their_owner():
    kept, owner = Kept(), Owner()
    kept.get(owner, "key", lambda reference: reference)
    kept.get(owner.method, "key", lambda reference: reference)
    assert len(kept) == 2
    del owner
    gc.collect()
    assert len(kept) == 0


def test_owner_without_weak_references_is_served_and_not_kept():
    kept = Kept()
    assert kept.get((1, 2), "key", lambda reference: reference()) == (1, 2)
    assert len(kept) == 0


def test_function_whose_kernel_was_computed_is_freed():
    def compute():
        def f(p, x):
            return jnp.tanh(x @ p)

        empirical.ntk((f, np.ones((2, 1))), np.ones((2, 2)))
        return weakref.ref(f)

    before = len(PROGRAMS)
    reference = compute()
    gc.collect()
    assert reference() is None
    assert len(PROGRAMS) <= before
