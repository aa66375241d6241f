# One image for panel, coordinator and worker: they are the same code with different commands.

FROM python:3.13-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libmariadb-dev pkg-config \
 && rm -rf /var/lib/apt/lists/*
COPY requirements/base.txt requirements/mysql.txt requirements/postgresql.txt /requirements/
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes --no-deps \
      -r /requirements/base.txt -r /requirements/mysql.txt -r /requirements/postgresql.txt

FROM python:3.13-slim-bookworm
# The clients make the dumps; tini reaps what a killed process leaves, since process 1 must.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      libmariadb3 mariadb-client postgresql-client tini zstd \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/holdfast --create-home holdfast \
 && install -d -o holdfast -g holdfast -m 0700 /var/lib/holdfast/spool /var/lib/holdfast/data \
      /var/lib/holdfast/bundles
COPY --from=build /venv /venv
COPY . /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER holdfast
ENTRYPOINT ["tini", "--"]
CMD ["uvicorn", "panel.asgi:application", "--host", "0.0.0.0", "--port", "8000"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD \
  ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
