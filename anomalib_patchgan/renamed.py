"""Names that arguments of models had before, in configurations, checkpoints and code: the only list of them."""

import re
from collections.abc import Mapping
from typing import Any

# Old name to new name.
RENAMED = {"exposure": "intensity_normalization", "spared": "clean_fraction"}

# How Python, jsonargparse and this package refuse an argument.
_REFUSED = re.compile(rf"PatchGan.*(?:[Oo]ption|argument) '({'|'.join(RENAMED)})'", re.DOTALL)


def with_new_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under the names that they have now.

    Example:
        >>> with_new_names({"width": 8, "spared": 0.5})
        {'width': 8, 'clean_fraction': 0.5}
    """
    return {RENAMED.get(name, name): value for name, value in settings.items()}


def say_new_name(message: str) -> str:
    """Add the new name to a message that refuses an old one, unless it is in it already.

    Example:
        >>> say_new_name("PatchGan takes no argument 'spared'")
        "PatchGan takes no argument 'spared'; it is called clean_fraction now"
    """
    refused = _REFUSED.search(message)
    hint = f"; it is called {RENAMED[refused[1]]} now" if refused else ""
    # An error within an error passes here more than once.
    return message if hint in message else message + hint
