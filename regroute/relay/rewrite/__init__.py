"""The registry's names in the front's."""
