"""The stages of a job, one file each: `run(context) -> StageResult`, easy to read.

A stage knows the engine only. What it needs comes in a frozen `StageContext`; what it has to say
goes out through the context's reporter and the `StageResult`.
"""
