"""Person re-identification in 3D: lift, pack, train, judge.

Importing the package costs nothing: the doors (``python -m ogreid.fit --help``) answer before torch loads.
"""

__version__ = "0.1.0"
