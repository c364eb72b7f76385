"""What a report shows of a stage-1 run: curves from `metrics.jsonl`, tables and pictures of its evaluation."""

import base64
import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipelines.quality.report.figures import training_curves
