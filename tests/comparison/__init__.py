"""Reference cases compared with the library: translation of specs, tolerances, and evaluation in many digits."""
