// usage: unwind ROUNDS
// Functions with every kind of exit, called so that exceptions and long jumps leave them, pass through
// them, start in them and are caught in them. It counts what became of each call, and ends with an
// error when a result is wrong or a frame was not unwound as it should be.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "report.h"

#include <csetjmp>
#include <map>
#include <stdexcept>
#include <string>

enum class Mode { returns, throws_object, throws_int, jumps };

// What exit_two_rets returns at once for; its assembler has the number. No other call passes it.
static constexpr uint64_t EARLY = 1000000;

static Mode    mode;
static jmp_buf landing;

static void check(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "unwind: %s\n", what);
    exit(65);
}

extern "C" {

// What every probed function calls: one frame below it.
__attribute__((noipa)) uint64_t below(uint64_t n) {
    switch (mode) {
        case Mode::returns: return 3 * n + 1;
        case Mode::throws_object: throw std::runtime_error("below");
        case Mode::throws_int: throw static_cast<int>(n);
        case Mode::jumps: longjmp(landing, 1);
    }
    abort();
}

__attribute__((noipa)) uint64_t tail_target(uint64_t n) {
    __asm__ volatile("");
    return n + 7;
}

uint64_t exit_ret(uint64_t n);
uint64_t exit_two_rets(uint64_t n);
uint64_t exit_leave(uint64_t n);
uint64_t exit_tail(uint64_t n);
uint64_t exit_jcc(uint64_t n);
uint64_t exit_cold(uint64_t n);
}

// Written out, because a compiler would not promise to keep these exits. Each calls below() and returns
// its result, all but exit_tail unchanged.
__asm__(R"(
    .text
    .globl exit_ret
    .type exit_ret, @function
exit_ret:
    .cfi_startproc
    pushq %rbx
    .cfi_def_cfa_offset 16
    .cfi_offset %rbx, -16
    movq %rdi, %rbx
    call below
    popq %rbx
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
    .size exit_ret, . - exit_ret

    # Returns from two depths of the stack: without a frame when n is EARLY.
    .globl exit_two_rets
    .type exit_two_rets, @function
exit_two_rets:
    .cfi_startproc
    pushq %rbx
    .cfi_def_cfa_offset 16
    .cfi_offset %rbx, -16
    cmpq $1000000, %rdi
    jne 1f
    .cfi_remember_state
    popq %rbx
    .cfi_def_cfa_offset 8
    movl $1, %eax
    ret
1:  .cfi_restore_state
    subq $32, %rsp
    .cfi_def_cfa_offset 48
    call below
    addq $32, %rsp
    .cfi_def_cfa_offset 16
    popq %rbx
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
    .size exit_two_rets, . - exit_two_rets

    # A frame pointer, and a stack whose depth only it knows.
    .globl exit_leave
    .type exit_leave, @function
exit_leave:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    movq %rdi, %rax
    andl $7, %eax
    shlq $4, %rax
    subq %rax, %rsp
    call below
    leave
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
    .size exit_leave, . - exit_leave

    .globl exit_tail
    .type exit_tail, @function
exit_tail:
    .cfi_startproc
    subq $8, %rsp
    .cfi_def_cfa_offset 16
    call below
    movq %rax, %rdi
    addq $8, %rsp
    .cfi_def_cfa_offset 8
    jmp tail_target
    .cfi_endproc
    .size exit_tail, . - exit_tail

    # The stack protector's shape: the result waits in r13 while the canary is compared.
    .globl exit_jcc
    .type exit_jcc, @function
exit_jcc:
    .cfi_startproc
    pushq %r13
    .cfi_def_cfa_offset 16
    .cfi_offset %r13, -16
    subq $16, %rsp
    .cfi_def_cfa_offset 32
    movq %fs:40, %rax
    movq %rax, 8(%rsp)
    call below
    movq %rax, %r13
    movq 8(%rsp), %rax
    subq %fs:40, %rax
    jne 1f
    addq $16, %rsp
    .cfi_remember_state
    .cfi_def_cfa_offset 16
    movq %r13, %rax
    popq %r13
    .cfi_def_cfa_offset 8
    ret
1:  .cfi_restore_state
    call __stack_chk_fail@PLT
    .cfi_endproc
    .size exit_jcc, . - exit_jcc

    # Even results return from a cold part elsewhere in the file.
    .globl exit_cold
    .type exit_cold, @function
exit_cold:
    .cfi_startproc
    pushq %rbx
    .cfi_def_cfa_offset 16
    .cfi_offset %rbx, -16
    call below
    testb $1, %al
    je exit_cold.cold
    popq %rbx
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
    .size exit_cold, . - exit_cold

    .section .text.unlikely, "ax", @progbits
    .type exit_cold.cold, @function
exit_cold.cold:
    .cfi_startproc
    .cfi_def_cfa_offset 16
    .cfi_offset %rbx, -16
    popq %rbx
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
    .size exit_cold.cold, . - exit_cold.cold
    .text
)");

extern "C" {

// The probed function is where the exception starts.
__attribute__((noipa)) uint64_t throws_itself(uint64_t n) {
    if (mode != Mode::returns) throw std::runtime_error("inside " + std::to_string(n));
    return below(n);
}

// The probed function is where the exception ends.
__attribute__((noipa)) uint64_t catches_itself(uint64_t n) {
    try {
        return below(n);
    } catch (const std::runtime_error &) {
        return 1;
    } catch (int) {
        return 2;
    }
}

// Calls itself; what is thrown at the bottom is caught half way up. Without the barrier the compiler
// would make a loop of it.
__attribute__((noipa)) uint64_t recurses(uint64_t depth, uint64_t catch_at) {
    if (depth == 0) return below(1);
    uint64_t inner;
    if (depth != catch_at) {
        inner = recurses(depth - 1, catch_at);
        __asm__ volatile("" : "+r"(inner));
        return inner + 1;
    }
    try {
        inner = recurses(depth - 1, catch_at);
        __asm__ volatile("" : "+r"(inner));
        return inner + 1;
    } catch (const std::runtime_error &) {
        return 100;
    }
}
}

struct Counts {
    uint64_t entered, returned, unwound;
};
static std::map<std::string, Counts> counts;
static uint64_t                      checksum;

typedef uint64_t (*Function)(uint64_t);

// One frame between the probed function and whoever catches.
__attribute__((noipa)) static uint64_t through(Function function, uint64_t n) {
    uint64_t result = function(n);
    __asm__ volatile("" ::: "memory");
    return result;
}

// One frame above the probed function throws after it has returned.
__attribute__((noipa)) static void throws_above(Function function, uint64_t n) {
    checksum += function(n);
    throw std::runtime_error("above");
}

static void call_in_every_way(const char *name, Function function, uint64_t n, uint64_t expected, bool catches) {
    Counts &count = counts[name];
    mode          = Mode::returns;
    count.entered++, count.returned++;
    uint64_t result = through(function, n);
    check(result == expected, name);
    checksum += result;

    count.entered++, count.returned++;
    bool caught = false;
    try {
        throws_above(function, n);
    } catch (const std::runtime_error &) {
        caught = true;
    }
    check(caught, "what was thrown above did not arrive");

    for (Mode thrown : { Mode::throws_object, Mode::throws_int }) {
        mode = thrown;
        count.entered++;
        try {
            checksum += through(function, n);
            check(catches, "an exception was lost");
            count.returned++;
        } catch (const std::runtime_error &) {
            count.unwound++;
        } catch (int) {
            count.unwound++;
        }
    }

    // A function that throws by itself has nothing below it that jumps.
    if (function == throws_itself) return;
    mode = Mode::jumps;
    count.entered++;
    if (setjmp(landing) == 0) {
        through(function, n);
        check(false, "a long jump was lost");
    }
    counts[name].unwound++;
}

// A call that was left is known to be over when its function is called again as far up the stack.
static void call_once_more(const char *name, Function function) {
    mode = Mode::returns;
    counts[name].entered++, counts[name].returned++;
    checksum += through(function, 1);
}

static void recurse_in_every_way(uint64_t depth, uint64_t catch_at) {
    Counts &count = counts["recurses"];
    mode          = Mode::returns;
    checksum += recurses(depth, catch_at);
    count.entered += depth + 1, count.returned += depth + 1;
    mode            = Mode::throws_object;
    uint64_t result = recurses(depth, catch_at);
    check(result == 100 + depth - catch_at, "the recursion's result is wrong");
    count.entered += depth + 1;
    count.unwound += catch_at;
    count.returned += depth + 1 - catch_at;
}

static const struct {
    const char *name;
    Function    function;
    bool        is_tail_jump, catches;
} FUNCTIONS[] = {
    { "exit_ret", exit_ret, false, false },
    { "exit_two_rets", exit_two_rets, false, false },
    { "exit_leave", exit_leave, false, false },
    { "exit_tail", exit_tail, true, false },
    { "exit_jcc", exit_jcc, false, false },
    { "exit_cold", exit_cold, false, false },
    { "throws_itself", throws_itself, false, false },
    { "catches_itself", catches_itself, false, true },
};

int main(int argc, char **argv) {
    uint64_t rounds = number_argument(argc, argv, 1, 100);
    report_start();
    report_and_wait("unwind");
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t n = round % 1000 + 1;
        for (const auto &[name, function, is_tail_jump, catches] : FUNCTIONS) {
            call_in_every_way(name, function, n, 3 * n + 1 + (is_tail_jump ? 7 : 0), catches);
        }
        recurse_in_every_way(6, 3);
        mode = Mode::returns;
        checksum += exit_two_rets(EARLY);
        counts["exit_two_rets"].entered++, counts["exit_two_rets"].returned++;
    }
    for (const auto &each : FUNCTIONS) call_once_more(each.name, each.function);
    std::string functions;
    for (const auto &[name, count] : counts) {
        functions += (functions.empty() ? "\"" : ",\"") + name + "\":{\"entered\":" + std::to_string(count.entered) +
                     ",\"returned\":" + std::to_string(count.returned) +
                     ",\"unwound\":" + std::to_string(count.unwound) + "}";
    }
    report("counts", ",\"functions\":{%s},\"checksum\":%" PRIu64, functions.c_str(), checksum);
    report_and_wait("end");
    return 0;
}
