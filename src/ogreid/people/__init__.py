"""Synthetic people: parametric bodies, dressed, drawn before many cameras, in the layouts of the benchmarks."""

from ogreid.people.domains import APPEARANCE, DOMAINS, Domain, make_domain
from ogreid.people.estimates import Estimates, read_estimates

__all__ = ["APPEARANCE", "DOMAINS", "Domain", "Estimates", "make_domain", "read_estimates"]
