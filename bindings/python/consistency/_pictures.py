"""Images as numpy arrays that notebooks show; imported where numpy is installed."""

from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from ._values import shown


if TYPE_CHECKING:
    Base = np.ndarray[Any, Any]
else:
    Base = np.ndarray


class Pictures(Base):
    """n x C x H x W float32 values in [-1, 1]: an ordinary array, whose slices a notebook shows as pictures.  What is computed from
    it is an array like any other."""

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if plain.ndim == 0 else plain

    def _repr_png_(self) -> Optional[bytes]:
        return shown(self)
