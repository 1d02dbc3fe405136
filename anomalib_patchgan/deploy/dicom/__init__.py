"""DICOM series in, results beside them: needs the extra `dicom`, without which the rest of the package works."""
