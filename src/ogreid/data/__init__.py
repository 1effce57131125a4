"""Benchmarks on disk, packed stores and the batches drawn from them.

Only :class:`Store` is offered here, so that the doors can look at stores before torch loads; the rest is in
``readers``, ``packing``, ``synthetic``, ``transforms``, ``samplers`` and ``datamodule``.
"""

from ogreid.data.store.reading import Store

__all__ = ["Store"]
