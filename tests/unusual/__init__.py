"""Right, and otherwise than most: what a judge must not convict.

A judge that convicts the innocent is soon ignored.  Here is an implementation for each
freedom that an API has (``tolerances``, and what counts as a leak), each of which does
something that a careless judge would call a bug.  :data:`UNUSUAL` holds them by name.

Imported by the worker under its own name, ``unusual``, as ``planted`` is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import codecs, interfaces, promises, receivers, resources
from .registry import UNUSUAL

if TYPE_CHECKING:
    from ancfuzz import Implementation

__all__ = ["UNUSUAL", "codecs", "interfaces", "promises", "receivers", "resources"]

for _cls in UNUSUAL.values():
    _cls.__module__ = __name__


def __getattr__(name: str) -> type[Implementation]:
    """An implementation, by its name."""
    if name in UNUSUAL:
        return UNUSUAL[name]
    raise AttributeError(f"nothing unusual is called {name}")
