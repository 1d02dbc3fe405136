"""A model that the system kills, as it kills one that takes too much memory."""

import os
import signal

from anomalib_patchgan import MeanIntensity


class KilledModel(MeanIntensity):
    """Ends its process at the first training step."""

    def training_step(self, batch, batch_idx):  # noqa: ARG002 - Lightning's signature
        """Be killed."""
        os.kill(os.getpid(), signal.SIGKILL)
