"""Networks behind one small pure protocol."""

from volume.models.model import Head, Model, Parameter, Params

__all__ = ["Head", "Model", "Parameter", "Params"]
