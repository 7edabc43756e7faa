// usage: flood CALLS_PER_THREAD [THREADS]
// Calls one exported function from several threads, each on its own CPU, as fast as it goes. The
// results depend on every argument and on every call, so a tracer that changed one would show.
#define _GNU_SOURCE
#include "report.h"

#include <pthread.h>
#include <sched.h>

enum { MAX_THREADS = 64, TOKENS = 16 };

static uint64_t          calls_per_thread;
static pthread_barrier_t start;

// The clobbered register makes the first instruction a push, as in most functions of real libraries.
__attribute__((noipa, visibility("default"))) uint64_t flood_target(uint64_t call, uint64_t mix,
                                                                       const uint32_t *tokens, uint32_t count) {
    __asm__ volatile("" ::: "rbx");
    return (mix ^ call) * 0x9e3779b97f4a7c15u + tokens[call % count];
}

static void *worker(void *argument) {
    uint64_t  thread = (uint64_t) (uintptr_t) argument;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(thread % (uint64_t) sysconf(_SC_NPROCESSORS_ONLN), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    uint32_t tokens[TOKENS];
    for (uint32_t i = 0; i < TOKENS; i++) tokens[i] = (uint32_t) thread * 1000 + i;
    uint64_t mix = thread;
    pthread_barrier_wait(&start);
    for (uint64_t call = 0; call < calls_per_thread; call++) mix = flood_target(call, mix, tokens, TOKENS);
    return (void *) (uintptr_t) mix;
}

int main(int argc, char **argv) {
    calls_per_thread = number_argument(argc, argv, 1, 1000);
    uint64_t  threads = number_argument(argc, argv, 2, 2);
    pthread_t handles[MAX_THREADS];
    if (threads < 1 || threads > MAX_THREADS) return 64;
    report_start();
    report_and_wait("flood");
    pthread_barrier_init(&start, NULL, (unsigned) threads);
    for (uint64_t i = 0; i < threads; i++) pthread_create(&handles[i], NULL, worker, (void *) (uintptr_t) i);
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < threads; i++) {
        void *mix;
        pthread_join(handles[i], &mix);
        checksum ^= (uint64_t) (uintptr_t) mix;
    }
    uint64_t calls = calls_per_thread * threads;
    report("counts",
           ",\"functions\":{\"flood_target\":{\"entered\":%" PRIu64 ",\"returned\":%" PRIu64
           ",\"unwound\":0}},\"checksum\":%" PRIu64,
           calls, calls, checksum);
    report_and_wait("end");
    return 0;
}
