"""Names of the parameters in a nested tree: the path joined by dots, "conv1.kernel", "layers.0.bias"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat_names(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """A nested mapping as a flat one. Flat already (names with dots in them): returned as it is.

    ValueError when two paths make one name.
    """
    flat: dict[str, Any] = {}

    def walk(prefix: str, node: Any) -> None:
        if isinstance(node, Mapping):
            for key, child in node.items():
                walk(f"{prefix}.{key}" if prefix else str(key), child)
        elif prefix in flat:
            raise ValueError(f"Two parameters have the name {prefix!r}; rename one of the modules.")
        else:
            flat[prefix] = node

    walk("", tree)
    return flat
