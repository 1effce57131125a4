"""Synthetic data: parametric bodies, dressed, rendered before many cameras, in the layouts of the benchmarks."""

from ogreid.synthetic.domains import APPEARANCE, DOMAINS, Domain, make_domain
from ogreid.synthetic.estimates import Estimates, read_estimates

__all__ = ["APPEARANCE", "DOMAINS", "Domain", "Estimates", "make_domain", "read_estimates"]
