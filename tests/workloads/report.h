// The report's lines, as README.md describes them: one write(2) a line.
#pragma once

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static inline void report(const char *event, const char *format, ...) {
    char            line[4096];
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    int     n = snprintf(line, sizeof line, "{\"ev\":\"%s\",\"tid\":%d,\"boot_ns\":%" PRIu64, event, gettid(),
                         (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec);
    va_list arguments;
    va_start(arguments, format);
    n += vsnprintf(line + n, sizeof line - (size_t) n, format, arguments);
    va_end(arguments);
    n += snprintf(line + n, sizeof line - (size_t) n, "}\n");
    if (write(1, line, (size_t) n) != n) _exit(71);
}

static inline void report_start(void) { report("start", ",\"pid\":%d,\"uid\":%u", getpid(), getuid()); }

// Reports that it waits, and reads a line from standard input.
static inline void report_and_wait(const char *what) {
    report("waiting", ",\"for\":\"%s\"", what);
    char byte;
    do {
        if (read(0, &byte, 1) <= 0) exit(72);
    } while (byte != '\n');
}

static inline uint64_t number_argument(int argc, char **argv, int index, uint64_t otherwise) {
    return argc > index ? strtoull(argv[index], NULL, 10) : otherwise;
}
