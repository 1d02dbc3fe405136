"""No start is reported to anybody."""

import sys
from typing import Any


def block_telemetry() -> None:
    """Let OpenVINO and nncf do without `openvino_telemetry`, as where it is not installed.

    Otherwise importing them writes to the home folder, warns where there is none, and reports to their makers, unless
    somebody said no before: `openvino_telemetry` asks in its own programs only.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)
