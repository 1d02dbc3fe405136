"""From a trained model to a clinic's small box: exports that are checked, and volumes in."""
