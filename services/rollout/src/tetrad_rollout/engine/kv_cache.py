"""Keys and values of the running rows, right-aligned in buffers that grow in steps.

A `transformers.Cache` whose layers write a new token in place; the library's own would copy everything at each
token. Rows are joined behind the others and dropped by moving the last rows into the gaps. Knows no token ids.
"""

# R rows · H key-value heads · T columns (time) · D head dimension

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

_MIN_SPARE_COLUMNS: Final = 16


class RowLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # transformers has types in part
    """One layer's keys and values: the visible part is `[:rows, :, first:end]`."""

    is_sliding = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, like: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.keys = self.values = like.new_empty((0, like.shape[1], 0, like.shape[3]))
        self.is_initialized = True
        self.rows, self.first, self.end = 0, 0, 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to do: `join` allocates."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: object, **_kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new columns and answer all visible ones; both [R, H, T, D]."""
        num_new = key_states.shape[2]
        self.reserve(rows=self.rows, columns=self.end + num_new)
        new = slice(self.end, self.end + num_new)
        self.keys[: self.rows, :, new] = key_states
        self.values[: self.rows, :, new] = value_states
        self.end += num_new
        return self.visible(self.keys), self.visible(self.values)

    def visible(self, buffer: torch.Tensor) -> torch.Tensor:
        """The part of a buffer that rows may attend to."""
        return buffer[: self.rows, :, self.first : self.end]

    def reserve(self, *, rows: int, columns: int, shift: int = 0) -> None:
        """Make room for that many, moving what is there `shift` columns to the right."""
        if shift == 0 and rows <= self.keys.shape[0] and columns <= self.keys.shape[2]:
            return
        spare = max(_MIN_SPARE_COLUMNS, columns // 2)
        self.keys = self._moved(self.keys, rows, columns + spare, shift)
        self.values = self._moved(self.values, rows, columns + spare, shift)
        self.end += shift

    def _moved(self, buffer: torch.Tensor, rows: int, columns: int, shift: int) -> torch.Tensor:
        larger = buffer.new_empty((rows, buffer.shape[1], columns, buffer.shape[3]))
        larger[: self.rows, :, :shift] = 0.0
        larger[: self.rows, :, shift : self.end + shift] = buffer[: self.rows, :, : self.end]
        return larger

    def join(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Append rows [R', H, T', D] whose last column is the present last column."""
        width, rows = keys.shape[2], self.rows + keys.shape[0]
        self.reserve(rows=rows, columns=max(self.end, width), shift=max(0, width - self.end))
        for buffer, new in ((self.keys, keys), (self.values, values)):
            joined = buffer[self.rows : rows]
            # What a mask hides must still be finite: a weight of 0 times NaN is NaN.
            joined[:, :, : self.end - width] = 0.0
            joined[:, :, self.end - width : self.end] = new
        self.rows = rows

    def keep(self, targets: torch.Tensor, sources: torch.Tensor, *, rows: int) -> None:
        """Move rows, then drop those beyond `rows`."""
        if targets.numel():
            self.keys[targets, :, : self.end] = self.keys[sources, :, : self.end]
            self.values[targets, :, : self.end] = self.values[sources, :, : self.end]
        self.rows = rows

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(columns that a forward of `query_length` tokens attends to, offset of the first)."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Visible columns."""
        return self.end - self.first

    def get_max_length(self) -> int:
        """No limit."""
        return -1


class RowCache(Cache):
    """All layers of the running rows."""

    def __init__(self) -> None:
        self._row_layers: list[RowLayer] = []
        super().__init__(layers=[])

    @property
    def end(self) -> int:
        """One past the column of the newest tokens; 0 when nothing is cached."""
        return self._row_layers[0].end if self._row_layers else 0

    def join(self, prefilled: Iterable[tuple[torch.Tensor, torch.Tensor]], repeats: torch.Tensor) -> None:
        """Append a prefill's rows, given as (keys, values) of each layer; row i `repeats[i]` times."""
        for index, (keys, values) in enumerate(prefilled):
            if index == len(self._row_layers):
                self._row_layers.append(RowLayer(keys))
            self._row_layers[index].join(
                keys.repeat_interleave(repeats, dim=0), values.repeat_interleave(repeats, dim=0)
            )
        self.layers = list(self._row_layers)

    def keep(self, order: Sequence[int]) -> None:
        """Row i becomes what row order[i] was."""
        moves = [(to, source) for to, source in enumerate(order) if to != source]
        targets = torch.tensor([to for to, _ in moves], dtype=torch.long)
        sources = torch.tensor([source for _, source in moves], dtype=torch.long)
        for layer in self._row_layers:
            layer.keep(targets, sources, rows=len(order))

    def hide_columns(self, first: int) -> None:
        """No row attends to columns before `first` any more."""
        for layer in self._row_layers:
            layer.first = first
