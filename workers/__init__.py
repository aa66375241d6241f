"""The workers: run stages on the host where the files are."""
