// usage: steps CALLS [ROUNDS [RATE]]
// Calls a decode step CALLS times, in one thread, for each line that arrives, and says after the last round
// how often it did: RATE times a second, or as fast as it goes.
#define _GNU_SOURCE
#include "report.h"

// Calls between two looks at the clock.
enum { BURST = 256 };

int32_t decode_step(void *context, int32_t tokens);

// In assembly, so that every build has the same sites: a push at the entry and a nop before the pop, both
// of which the kernel emulates, as it does where llama.cpp decodes.
__asm__(".text\n"
        ".p2align 4\n"
        ".globl decode_step\n"
        ".type decode_step, @function\n"
        "decode_step:\n"
        ".cfi_startproc\n"
        "  push %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset %rbp, -16\n"
        "  lea -1(%rsi), %eax\n"
        "  nop\n"
        "  pop %rbp\n"
        ".cfi_def_cfa_offset 8\n"
        "  ret\n"
        ".cfi_endproc\n"
        ".size decode_step, . - decode_step\n");

// Sleeps until so many calls are due.
static void await(const struct timespec *begin, uint64_t calls, uint64_t rate) {
    uint64_t        due  = (uint64_t) begin->tv_nsec + calls * 1000000000u / rate;
    struct timespec when = {begin->tv_sec + (time_t) (due / 1000000000u), (long) (due % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) != 0) {}
}

int main(int argc, char **argv) {
    uint64_t calls    = number_argument(argc, argv, 1, 1000);
    uint64_t rounds   = number_argument(argc, argv, 2, 1);
    uint64_t rate     = number_argument(argc, argv, 3, 0);
    uint64_t checksum = 0;
    int      context  = 0;
    report_start();
    for (uint64_t round = 0; round < rounds; round++) {
        report_and_wait("round");
        struct timespec begin;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (uint64_t i = 0; i < calls; i++) {
            if (rate != 0 && i % BURST == 0) await(&begin, i, rate);
            checksum += (uint64_t) decode_step(&context, 1);
        }
    }
    calls *= rounds;
    report("counts",
           ",\"functions\":{\"decode_step\":{\"entered\":%" PRIu64 ",\"returned\":%" PRIu64
           ",\"unwound\":0}},\"checksum\":%" PRIu64,
           calls, calls, checksum);
    report_and_wait("end");
    return 0;
}
