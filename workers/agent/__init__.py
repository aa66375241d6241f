"""The agent: the small parent process of a worker, which keeps its word whatever Celery does.

`manage.py worker` forks the Celery worker and goes on as its agent. In-process heartbeats stop
while Redis is away, since Celery's reconnecting blocks its timers, and a database that hangs would
block its event loop. So the agent speaks to the database and Celery to Redis; between them is one
page of shared memory, the `board`. The agent's main thread only waits for signals and for Celery's
end; its `duty` thread beats and brings orders, its `janitor` thread cleans up.
"""
