"""What several models share: networks, calibration, the training loop and the way from residual maps to scores."""
