"""Processes the cases of a folder as they arrive, each once, whatever happens to the process."""
