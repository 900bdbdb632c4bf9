"""The version of this installation, as pip knows it."""

from importlib.metadata import version

VERSION = version("backstory")
