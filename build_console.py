"""Hatch build hook: builds the web console into the wheel (see web/)."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ConsoleBuildHook(BuildHookInterface):
    """Nothing to build yet."""
