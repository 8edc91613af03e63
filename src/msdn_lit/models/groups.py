"""Tables of attribute groups."""

from collections.abc import Mapping

from msdn_lit.errors import ConfigError


def attribute_groups(table: Mapping[str, str], num_attributes: int) -> list[list[int]]:
    """Reads a table of groups; every attribute is in one of them.

    Args:
        table: Indices and ranges like "0-17, 33" by the name of the group, or "rest".
        num_attributes: K.

    Returns:
        Ascending indices of each group.

    Raises:
        ConfigError: An attribute is in no group or in two, or an index is not an attribute.
    """
    groups = {name: [] if text == "rest" else _indices(text) for name, text in table.items()}
    named = [k for group in groups.values() for k in group]
    rest = sorted(set(range(num_attributes)) - set(named))
    groups |= {name: rest for name, text in table.items() if text == "rest"}
    if sorted(k for group in groups.values() for k in group) != list(range(num_attributes)):
        expected = f"each attribute from 0 to {num_attributes - 1} in one group"
        raise ConfigError("model.groups is wrong", expected=expected, found=dict(table))
    return list(groups.values())


def _indices(text: str) -> list[int]:
    bounds = [part.strip().split("-") for part in str(text).split(",")]
    if not all(bound.isdecimal() for part in bounds for bound in part) or max(map(len, bounds)) > 2:
        raise ConfigError("model.groups is wrong", expected='text like "0-17, 33"', found=text)
    return sorted(k for part in bounds for k in range(int(part[0]), int(part[-1]) + 1))
