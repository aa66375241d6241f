"""The audit trail of what comes over HTTP."""
