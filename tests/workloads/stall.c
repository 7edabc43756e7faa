// usage: stall slow LENGTH | stall fast CALLS
// Two processes of this one file, pinned to the same CPU. `slow` passes a buffer whose page does not
// exist until a line arrives on standard input: whoever reads it first, the tracer's probe, is held in
// the middle of the read (userfaultfd). `fast` calls the same function meanwhile, with bytes of its own.
// Needs root, since a fault taken in the kernel is held.
#define _GNU_SOURCE
#include "report.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { SLOW_BYTE = 0x53, FAST_BYTE = 0x46, LONGEST = 192 };

static uint8_t *page;
static long     page_size;
static int      fault_fd;

__attribute__((noipa, visibility("default"))) uint64_t stall_target(const uint8_t *bytes, uint32_t length,
                                                                       uint64_t call) {
    __asm__ volatile("" ::: "rbx", "memory");
    uint64_t sum = call;
    for (uint32_t i = 0; i < length; i++) sum += bytes[i];
    return sum;
}

// Fills the page when told to, and only then lets the reader go on.
static void *fill_page(void *unused) {
    (void) unused;
    struct pollfd  ready = { .fd = fault_fd, .events = POLLIN };
    struct uffd_msg message;
    if (poll(&ready, 1, -1) != 1 || read(fault_fd, &message, sizeof message) != sizeof message) exit(73);
    report_and_wait("fill");
    uint8_t *filled = aligned_alloc((size_t) page_size, (size_t) page_size);
    memset(filled, SLOW_BYTE, (size_t) page_size);
    struct uffdio_copy copy = { .dst = (uintptr_t) page, .src = (uintptr_t) filled, .len = (uint64_t) page_size };
    if (ioctl(fault_fd, UFFDIO_COPY, &copy) != 0) exit(74);
    return NULL;
}

static uint64_t run_slow(uint32_t length) {
    page_size = sysconf(_SC_PAGESIZE);
    page      = mmap(NULL, (size_t) page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fault_fd  = (int) syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api      api  = { .api = UFFD_API };
    struct uffdio_register area = { .range = { .start = (uintptr_t) page, .len = (uint64_t) page_size },
                                    .mode  = UFFDIO_REGISTER_MODE_MISSING };
    if (page == MAP_FAILED || fault_fd < 0 || ioctl(fault_fd, UFFDIO_API, &api) != 0 ||
        ioctl(fault_fd, UFFDIO_REGISTER, &area) != 0) {
        perror("userfaultfd");
        exit(75);
    }
    pthread_t filler;
    pthread_create(&filler, NULL, fill_page, NULL);
    uint64_t sum = stall_target(page, length, UINT64_MAX);
    pthread_join(filler, NULL);
    return sum;
}

static uint64_t run_fast(uint64_t calls) {
    uint8_t bytes[LONGEST];
    memset(bytes, FAST_BYTE, sizeof bytes);
    uint64_t sum = 0;
    for (uint64_t call = 0; call < calls; call++) sum += stall_target(bytes, 1 + (uint32_t) (call % LONGEST), call);
    return sum;
}

int main(int argc, char **argv) {
    if (argc != 3) return 64;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    bool     slow   = strcmp(argv[1], "slow") == 0;
    uint64_t number = number_argument(argc, argv, 2, 1);
    report_start();
    report_and_wait("call");
    uint64_t checksum = slow ? run_slow((uint32_t) number) : run_fast(number);
    uint64_t calls    = slow ? 1 : number;
    report("counts",
           ",\"functions\":{\"stall_target\":{\"entered\":%" PRIu64 ",\"returned\":%" PRIu64
           ",\"unwound\":0}},\"checksum\":%" PRIu64,
           calls, calls, checksum);
    report_and_wait("end");
    return 0;
}
