// usage: cost CPU CALLS
// Calls one function CALLS times each time that a line arrives, alone on its CPU, and reports the CPU
// time that they took: what a probe in it costs the caller.
#define _GNU_SOURCE
#include "report.h"

#include <sched.h>
#include <string.h>

enum { BYTES = 256, WARM_UP = 500 };

// In assembly, so that every build has the same two sites: a push at the entry and a nop that every
// return passes, both of which the kernel emulates.
uint64_t cost_target(const uint8_t *bytes, uint64_t length);
__asm__(".text\n"
        ".p2align 4\n"
        ".globl cost_target\n"
        ".type cost_target, @function\n"
        "cost_target:\n"
        ".cfi_startproc\n"
        "  push %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset %rbp, -16\n"
        "  lea 1(%rsi), %rax\n"
        "  nop\n"
        "  pop %rbp\n"
        ".cfi_def_cfa_offset 8\n"
        "  ret\n"
        ".cfi_endproc\n"
        ".size cost_target, . - cost_target\n");

static uint64_t thread_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

static uint64_t call(uint64_t times, const uint8_t *bytes) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < times; i++) sum += cost_target(bytes, BYTES);
    return sum;
}

int main(int argc, char **argv) {
    uint8_t   bytes[BYTES];
    uint64_t  calls = number_argument(argc, argv, 2, 1000);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(number_argument(argc, argv, 1, 0), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    memset(bytes, 1, sizeof bytes);
    report_start();
    for (;;) {
        report_and_wait("calls");
        uint64_t checksum = call(WARM_UP, bytes);
        uint64_t start    = thread_time();
        checksum += call(calls, bytes);
        uint64_t end = thread_time();
        report("measured", ",\"calls\":%" PRIu64 ",\"warm_up\":%d,\"cpu_ns\":%" PRIu64 ",\"checksum\":%" PRIu64,
               calls, WARM_UP, end - start, checksum);
    }
}
