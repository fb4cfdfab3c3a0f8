"""Flower is installed apart from this project; where it is not, its module cannot be read."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("flwr") else ["flower_simulation.py"]
