"""`volume.load`: everything that can be saved, for each of these modules registers what it makes."""

from __future__ import annotations

from volume.checks import check as check
from volume.estimators.local import curve as curve
from volume.reports import comparison as comparison
from volume.reports.loading import load as load
from volume.studies import label_curve as label_curve
from volume.studies import measures as measures
from volume.studies import sweep as sweep
