// usage: paced RATE PHASES
// Calls three functions RATE times a second each, pauses, calls again, and so on: each line that arrives
// ends a phase, and after the last one it says how often it called.
#define _GNU_SOURCE
#include "report.h"

#include <poll.h>

// In assembly, so that every build has the same sites: a push at the entry, which the kernel emulates,
// and before the pop whatever `end` is.
#define PACED(name, end)                                                                                     \
    uint64_t name(uint64_t call);                                                                            \
    __asm__(".text\n"                                                                                        \
            ".p2align 4\n"                                                                                   \
            ".globl " #name "\n"                                                                             \
            ".type " #name ", @function\n" #name ":\n"                                                       \
            ".cfi_startproc\n"                                                                               \
            "  push %rbp\n"                                                                                  \
            ".cfi_def_cfa_offset 16\n"                                                                       \
            ".cfi_offset %rbp, -16\n"                                                                        \
            "  lea 1(%rdi), %rax\n" end                                                                      \
            "  pop %rbp\n"                                                                                   \
            ".cfi_def_cfa_offset 8\n"                                                                        \
            "  ret\n"                                                                                        \
            ".cfi_endproc\n"                                                                                 \
            ".size " #name ", . - " #name "\n");

PACED(paced_first, "  nop\n")
PACED(paced_second, "  nop\n")
// Only its `ret` can be probed as its end, which is single-stepped.
PACED(paced_dear, "")

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t) time.tv_sec * 1000000000u + (uint64_t) time.tv_nsec;
}

// Whether a line has arrived, waiting a millisecond at most.
static int is_told(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char          byte  = 0;
    if (poll(&input, 1, 1) <= 0) return 0;
    if (read(0, &byte, 1) <= 0) exit(72);
    return byte == '\n';
}

int main(int argc, char **argv) {
    uint64_t rate   = number_argument(argc, argv, 1, 1000);
    uint64_t phases = number_argument(argc, argv, 2, 1);
    uint64_t calls = 0, checksum = 0;
    report_start();
    report_and_wait("paced");
    for (uint64_t phase = 0; phase < phases; phase++) {
        uint64_t start = now(), made = 0;
        while (!is_told()) {
            if (phase % 2) continue;
            uint64_t owed = (now() - start) / 1000 * rate / 1000000 - made;
            // What it cannot keep up with is not made up for at once: it should hear of lines.
            uint64_t most = rate / 20 + 1;
            if (owed > most) start += (owed - most) * 1000000000u / rate, owed = most;
            for (uint64_t i = 0; i < owed; i++) {
                checksum += paced_first(made + i) + paced_second(made + i) + paced_dear(made + i);
            }
            made += owed;
        }
        calls += made;
    }
    report("counts",
           ",\"functions\":{\"paced_first\":{\"entered\":%" PRIu64 ",\"returned\":%" PRIu64
           ",\"unwound\":0},\"paced_second\":{\"entered\":%" PRIu64 ",\"returned\":%" PRIu64
           ",\"unwound\":0},\"paced_dear\":{\"entered\":%" PRIu64 ",\"returned\":%" PRIu64
           ",\"unwound\":0}},\"checksum\":%" PRIu64,
           calls, calls, calls, calls, calls, calls, checksum);
    report_and_wait("end");
    return 0;
}
