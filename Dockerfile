# One image for panel, coordinator and worker: they are the same code with different commands.

FROM python:3.13.15-slim-bookworm AS build
# A Debian release gets nothing but fixes, and old versions leave its mirrors: none is pinned here.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libmariadb-dev pkg-config \
 && rm -rf /var/lib/apt/lists/*
COPY requirements/base.txt requirements/mysql.txt requirements/postgresql.txt /requirements/
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --no-cache-dir --require-hashes --no-deps \
      -r /requirements/base.txt -r /requirements/mysql.txt -r /requirements/postgresql.txt
COPY manage.py /app/
COPY panel /app/panel
COPY backups /app/backups
COPY workers /app/workers
RUN python -m compileall -q /app

FROM python:3.13.15-slim-bookworm
# The clients make the dumps; tini reaps what a killed process leaves, since process 1 must.
# A new volume takes its owner from the folder that it covers.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      libmariadb3 mariadb-client postgresql-client tini zstd \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 holdfast \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/holdfast --create-home \
      --shell /usr/sbin/nologin holdfast \
 && install -d -o holdfast -g holdfast -m 0700 /etc/holdfast /var/lib/holdfast/spool \
      /var/lib/holdfast/bundles
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOLDFAST_ENVIRONMENT=production
WORKDIR /app
USER 10001:10001
# Signals go to the command alone, not to its group: a worker ends its stages itself.
ENTRYPOINT ["tini", "--"]
# Streams to browsers stay open for hours: they are not waited for at the end.
CMD ["uvicorn", "panel.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--no-proxy-headers", "--no-access-log", "--timeout-graceful-shutdown", "10"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD \
  ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
