"""Synthetic people: parametric bodies, dressed, drawn before many cameras, in the layouts of the benchmarks."""

from ogreid.people.domains import DOMAINS, Domain, make_domain
from ogreid.people.estimates import Estimates, read_estimates

__all__ = ["DOMAINS", "Domain", "Estimates", "make_domain", "read_estimates"]
