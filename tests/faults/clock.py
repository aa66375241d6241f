"""A wall clock that is wrong for one process: a library that the loader puts before libc's."""

from __future__ import annotations

import subprocess
from pathlib import Path

# Only the wall clock: what counts time since boot is right on a host whose date is wrong.
SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) {
    const char *seconds = getenv("SHIFT_SECONDS");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
"""


def wrong_clock(directory: Path, seconds: int) -> dict[str, str]:
    """Return the environment of a process whose wall clock is off by so much."""
    source, library = directory / "clock.c", directory / "clock.so"
    if not library.exists():
        source.write_text(SOURCE)
        argv = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
        subprocess.run(argv, check=True)
    return {"LD_PRELOAD": str(library), "SHIFT_SECONDS": str(seconds)}
