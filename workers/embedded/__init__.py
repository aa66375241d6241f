"""The embedded cluster: a whole Holdfast of real processes in one folder, for `manage.py demo`.

It is driven from outside, as a person would: through commands and the HTTP API. So nothing here
knows Django, Celery or the domain.
"""
