"""Reports. Importing the package imports every kind of report, and each registers itself for `loading.load`."""

from volume.reports import limit_entries, local_entries, named, on_disk, pooled, trained  # noqa: F401
