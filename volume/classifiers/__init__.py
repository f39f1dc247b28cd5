"""Rules that put functions into classes, a file each.

Importing the package imports every file in it, so that every kind of classifier can be read from its description.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
