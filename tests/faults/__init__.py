"""Faults injected into whole installations: real processes, real servers, one test per row."""
