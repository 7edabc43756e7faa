// usage: cost FUNCTION CALLS CPU...
// Calls the function CALLS times each time that a line arrives, from one thread for each CPU and at the
// same time, and reports the CPU time that they took: what a probe in it costs the caller.
#define _GNU_SOURCE
#include "report.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

enum { BYTES = 256, WARM_UP = 500, THREADS = 16 };

typedef uint64_t function(const uint8_t *bytes, uint64_t length);

// In assembly, so that every build has the same sites.
#define FUNCTION(name, code)                                                                                 \
    function name;                                                                                           \
    __asm__(".text\n"                                                                                        \
            ".p2align 4\n"                                                                                   \
            ".globl " #name "\n"                                                                             \
            ".type " #name ", @function\n" #name ":\n"                                                       \
            ".cfi_startproc\n" code "  ret\n"                                                                \
            ".cfi_endproc\n"                                                                                 \
            ".size " #name ", . - " #name "\n");

#define PUSH "  push %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset %rbp, -16\n"
#define POP "  pop %rbp\n.cfi_def_cfa_offset 8\n"
#define RESULT "  lea 1(%rsi), %rax\n"

// A push at the entry and a nop that every return passes: the kernel emulates both.
FUNCTION(cost_target, PUSH RESULT "  nop\n" POP)
// The same behind the landing pad of a build with CET, which the kernel single-steps.
FUNCTION(cost_cet, "  endbr64\n" PUSH RESULT "  nop\n" POP)
// With nothing before its return that the kernel emulates.
FUNCTION(cost_ret, "  endbr64\n" PUSH RESULT POP)
#define NOP5 "  .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
// A nop of five bytes at its entry and before its return, which newer kernels replace by calls, and
// nothing else that needs no single-step.
FUNCTION(cost_nop5, NOP5 RESULT NOP5)

static const struct {
    const char *name;
    function   *function;
} FUNCTIONS[] = {
    {"cost_target", cost_target},
    {"cost_cet", cost_cet},
    {"cost_ret", cost_ret},
    {"cost_nop5", cost_nop5},
};

// One calling thread, and what its last round took.
typedef struct {
    pthread_t thread;
    function *function;
    uint64_t  calls, cpu, cpu_ns, checksum;
} caller;

static pthread_barrier_t round_starts, calls_start, round_ends;

static uint64_t thread_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

static uint64_t call(function *function, uint64_t times, const uint8_t *bytes) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < times; i++) sum += function(bytes, BYTES);
    return sum;
}

static void *run(void *argument) {
    caller   *self = argument;
    uint8_t   bytes[BYTES];
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(self->cpu, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    memset(bytes, 1, sizeof bytes);
    for (;;) {
        pthread_barrier_wait(&round_starts);
        self->checksum = call(self->function, WARM_UP, bytes);
        pthread_barrier_wait(&calls_start);
        uint64_t start = thread_time();
        self->checksum += call(self->function, self->calls, bytes);
        self->cpu_ns = thread_time() - start;
        pthread_barrier_wait(&round_ends);
    }
    return NULL;
}

int main(int argc, char **argv) {
    static caller callers[THREADS];
    uint64_t      threads = argc > 3 ? (uint64_t) argc - 3 : 0;
    function     *called  = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
        if (strcmp(argv[1], FUNCTIONS[i].name) == 0) called = FUNCTIONS[i].function;
    }
    if (called == NULL || threads == 0 || threads > THREADS) {
        fprintf(stderr, "usage: cost FUNCTION CALLS CPU... (at most %d)\n", THREADS);
        return 2;
    }
    pthread_barrier_init(&round_starts, NULL, (unsigned) threads + 1);
    pthread_barrier_init(&calls_start, NULL, (unsigned) threads);
    pthread_barrier_init(&round_ends, NULL, (unsigned) threads + 1);
    report_start();
    for (uint64_t i = 0; i < threads; i++) {
        callers[i].function = called;
        callers[i].calls    = number_argument(argc, argv, 2, 1000);
        callers[i].cpu      = number_argument(argc, argv, 3 + (int) i, 0);
        if (pthread_create(&callers[i].thread, NULL, run, &callers[i]) != 0) return 71;
    }
    for (;;) {
        report_and_wait("calls");
        pthread_barrier_wait(&round_starts);
        pthread_barrier_wait(&round_ends);
        uint64_t cpu_ns = 0, checksum = 0, calls = 0;
        for (uint64_t i = 0; i < threads; i++) {
            cpu_ns += callers[i].cpu_ns;
            checksum += callers[i].checksum;
            calls += callers[i].calls;
        }
        report("measured", ",\"calls\":%" PRIu64 ",\"warm_up\":%" PRIu64 ",\"cpu_ns\":%" PRIu64 ",\"checksum\":%" PRIu64,
               calls, threads * WARM_UP, cpu_ns, checksum);
    }
}
