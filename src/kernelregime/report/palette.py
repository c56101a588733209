"""The colours of the report and of its figures, once for light and once for dark backgrounds.

Figures are drawn in the light colours; in the page every one of them becomes a CSS variable of the same name, so that it follows the theme.
"""

import re

# name: (light, dark). Curve and text colours keep a contrast of 4.5 to 1 with `surface` in both themes (tested).
COLOURS = {
    "paper": ("#f4f5f8", "#10141a"),
    "surface": ("#ffffff", "#1a2028"),
    "sunken": ("#edf0f5", "#242c37"),
    "ink": ("#1b2330", "#e7ebf1"),
    "muted": ("#556072", "#a7b2c1"),
    "grid": ("#d4d9e1", "#3a4554"),
    "network": ("#0a5cad", "#71b7ff"),
    "linearized": ("#ae440d", "#ff9f6a"),
    "ntk": ("#08724f", "#4fd1a1"),
    "nngp": ("#773dac", "#cba1f7"),
    "kernel": ("#0d7c57", "#46c796"),
    "near": ("#8a6100", "#e2b04a"),
    "feature": ("#b02a63", "#ff86b4"),
}
LIGHT = {name: pair[0] for name, pair in COLOURS.items()}
DARK = {name: pair[1] for name, pair in COLOURS.items()}
_NAMES = {value: name for name, value in LIGHT.items()}


def themed(style: str) -> str:
    """`style` with every light colour replaced by the CSS variable of its name (the light colour stays as the fallback)."""

    def variable(match: re.Match[str]) -> str:
        colour = match.group(0).lower()
        return f"var(--{_NAMES[colour]}, {colour})" if colour in _NAMES else colour

    return re.sub(r"#[0-9a-fA-F]{6}\b", variable, style)


def variables(colours: dict[str, str]) -> str:
    """CSS declarations of all colours of a theme."""
    return " ".join(f"--{name}: {value};" for name, value in colours.items())
