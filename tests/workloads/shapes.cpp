// usage: shapes
// Calls one function for each way in which C++ passes a value, and reports what it passed: the tracer
// must read the same. Compiled against libstdc++ and against libc++.
#include "report.h"

#include <algorithm>
#include <sched.h>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

// Nothing is known to the caller about what the function does, and its frame has a `push`, which is a
// cheap instruction to probe.
#define PROBED extern "C" __attribute__((noipa, visibility("default")))
#define BODY __asm__ volatile("" ::: "rbx", "memory")

namespace {

struct Big {
    int32_t     number;
    float       single;
    const char *text;
    int64_t     list[4];
    double      twice;
    uint8_t     flags[8];
};

struct Item {
    int16_t kind;
    float   weight;
    int64_t id;
    int64_t unused;
};

struct Leaf {
    int64_t before, value;
};
struct Branch {
    int64_t     before[2];
    const Leaf *leaf;
};
struct Trunk {
    int64_t       before;
    const Branch *branch;
};
struct Root {
    int64_t      before[3];
    const Trunk *trunk;
};

struct Answer {
    int64_t     number;
    double      twice;
    std::string text;
};

// The report of one call: its values by the profile's names.
class Values {
    std::string text;

    std::string &key(const char *name) {
        if (!text.empty()) text += ",";
        return text += std::string("\"") + name + "\":";
    }
    static std::string quoted(std::string_view value) {
        std::string out = "\"";
        for (char c : value) {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
        return out + "\"";
    }
    static std::string written(double value) {
        char digits[64];
        snprintf(digits, sizeof digits, "%.17g", value);
        return digits;
    }

  public:
    Values &number(const char *name, int64_t value) {
        key(name) += std::to_string(value);
        return *this;
    }
    Values &large(const char *name, uint64_t value) {
        key(name) += std::to_string(value);
        return *this;
    }
    Values &real(const char *name, double value) {
        key(name) += written(value);
        return *this;
    }
    Values &string(const char *name, std::string_view value) {
        key(name) += quoted(value);
        return *this;
    }
    template <typename Range> Values &numbers(const char *name, const Range &range) {
        std::string list;
        for (auto value : range) list += (list.empty() ? "" : ",") + std::to_string(value);
        key(name) += "[" + list + "]";
        return *this;
    }
    template <typename Range> Values &reals(const char *name, const Range &range) {
        std::string list;
        for (auto value : range) list += (list.empty() ? "" : ",") + written(value);
        key(name) += "[" + list + "]";
        return *this;
    }
    template <typename Range> Values &strings(const char *name, const Range &range) {
        std::string list;
        for (const auto &value : range) list += (list.empty() ? "" : ",") + quoted(value);
        key(name) += "[" + list + "]";
        return *this;
    }
    // Longer than what `report` holds: the line is written here, as it writes its own.
    void of(const char *function) const {
        struct timespec now;
        clock_gettime(CLOCK_BOOTTIME, &now);
        auto boot = static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
        std::string line = "{\"ev\":\"call\",\"tid\":" + std::to_string(gettid()) +
                           ",\"boot_ns\":" + std::to_string(boot) + ",\"function\":\"" + function +
                           "\",\"values\":{" + text + "}}\n";
        if (write(1, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(71);
    }
};

volatile uint64_t sum;

// Lengths around those at which the libraries' strings stop holding their text themselves, and the
// limit of what is taken.
constexpr size_t LENGTHS[] = { 0, 1, 15, 16, 22, 23, 200, 255, 256, 300 };

std::string made(size_t length, int seed) {
    std::string text(length, ' ');
    for (size_t i = 0; i < length; i++) text[i] = static_cast<char>('!' + (i * 7 + static_cast<size_t>(seed)) % 90);
    return text;
}

} // namespace

PROBED int32_t shape_registers(int8_t a, uint16_t b, int32_t c, uint64_t d, int64_t e, uint32_t f, int32_t g,
                               int64_t h, uint8_t i) {
    BODY;
    sum += d + b + f + i;
    return static_cast<int32_t>(a + c + g + e + h);
}

PROBED void shape_struct(Big big, int32_t number) {
    BODY;
    sum += static_cast<uint64_t>(big.number + number);
}

PROBED void shape_chain(const Root *root) {
    BODY;
    sum += static_cast<uint64_t>(root->trunk->branch->leaf->value);
}

// The result is written where the hidden first argument points.
__attribute__((noipa, visibility("default"))) Answer shape_hidden(int64_t number) __asm__("shape_hidden");
Answer shape_hidden(int64_t number) {
    BODY;
    return Answer{ -number, static_cast<double>(number) / 4, made(static_cast<size_t>(number), 3) };
}

PROBED void shape_texts(const char *c, const std::string &cxx, const std::string_view *view, const char *bytes,
                        int32_t length) {
    BODY;
    sum += static_cast<uint64_t>(c[0] + bytes[0]) + cxx.size() + view->size() + static_cast<uint64_t>(length);
}

PROBED void shape_arrays(const int32_t *ids, int32_t count, const int64_t *extents, const float *weights,
                         const double *scales, const Item *items, size_t item_count) {
    BODY;
    sum += static_cast<uint64_t>(count + ids[0] + extents[0]) + item_count;
    sum += static_cast<uint64_t>(weights[0] + scales[0] + items[0].weight);
}

PROBED void shape_vectors(const std::vector<int64_t> &ids, const std::vector<std::string> &words,
                          const std::vector<std::vector<std::string>> &batch, const std::vector<float> &weights) {
    BODY;
    sum += ids.size() + words.size() + batch.size() + weights.size();
}

PROBED void shape_lists(const char *const *names, size_t name_count, const std::string *words, int32_t word_count,
                        const int32_t *const *scattered, uint32_t scattered_count) {
    BODY;
    sum += name_count + static_cast<uint64_t>(names[0][0] + word_count + *scattered[0]) + words[0].size() +
           scattered_count;
}

PROBED void shape_words(int32_t kind, uint8_t type) {
    BODY;
    sum += static_cast<uint64_t>(kind) + type;
}

PROBED void shape_kept(int32_t number, int32_t flags) {
    BODY;
    sum += static_cast<uint64_t>(number + flags);
}

PROBED void shape_long(uint32_t microseconds) {
    BODY;
    if (microseconds > 0) usleep(microseconds);
    sum += microseconds;
}

PROBED void shape_sampled(int32_t number) {
    BODY;
    sum += static_cast<uint64_t>(number);
}

PROBED void shape_limited(int32_t number) {
    BODY;
    sum += static_cast<uint64_t>(number);
}

PROBED void shape_unreadable(const char *text, const int64_t *numbers, const char *const *names) {
    BODY;
    sum += reinterpret_cast<uintptr_t>(text) + reinterpret_cast<uintptr_t>(numbers) +
           reinterpret_cast<uintptr_t>(names);
}

namespace {

void call_plain(int turn) {
    auto d = UINT64_MAX - static_cast<uint64_t>(turn);
    auto e = INT64_MIN + turn;
    auto result = shape_registers(static_cast<int8_t>(-turn), static_cast<uint16_t>(65535 - turn), -turn, d, e,
                                  UINT32_MAX, 7 - turn, INT64_MAX, 200);
    Values()
        .number("a", static_cast<int8_t>(-turn))
        .number("b", 65535 - turn)
        .number("c", -turn)
        .large("d", d)
        .number("e", e)
        .number("f", UINT32_MAX)
        .number("g", 7 - turn)
        .number("h", INT64_MAX)
        .number("i", 200)
        .number("result", result)
        .of("shape_registers");

    Big big = { -turn, 0.25f * static_cast<float>(turn), "by value", { turn, -1, 2, 1 << 30 }, 1.0 / 3, { 1, 2, 3 } };
    shape_struct(big, turn);
    Values()
        .number("number", turn)
        .number("big_number", big.number)
        .real("single", static_cast<double>(big.single))
        .string("text", big.text)
        .numbers("list", big.list)
        .real("twice", big.twice)
        .numbers("flags", std::vector<int>(big.flags, big.flags + 8))
        .of("shape_struct");

    Leaf   leaf   = { 0, 1000 - turn };
    Branch branch = { {}, &leaf };
    Trunk  trunk  = { 0, &branch };
    Root   root   = { {}, &trunk };
    shape_chain(&root);
    Values().number("value", leaf.value).of("shape_chain");

    Answer answer = shape_hidden(turn * 6);
    Values()
        .number("number", answer.number)
        .real("twice", answer.twice)
        .string("text", answer.text)
        .of("shape_hidden");
}

void call_texts(size_t length) {
    std::string      c = made(length, 0), cxx = made(length, 1), viewed = made(length, 2);
    std::string_view view = viewed;
    std::string      bytes = made(100, 4);
    auto             taken = static_cast<int32_t>(length % 100);
    shape_texts(c.c_str(), cxx, &view, bytes.data(), taken);
    Values()
        .string("c", c)
        .string("cxx", cxx)
        .string("view", viewed)
        .string("blob", std::string_view(bytes).substr(0, static_cast<size_t>(taken)))
        .number("cxx_length", static_cast<int64_t>(length))
        .of("shape_texts");
}

void call_lists(size_t count) {
    std::vector<int32_t> ids;
    std::vector<int64_t> wide, item_ids;
    std::vector<float>   weights, item_weights;
    std::vector<double>  scales = { -0.5, 1e300 };
    std::vector<Item>    items;
    for (size_t i = 0; i < std::max<size_t>(count, 1); i++) {
        auto n = static_cast<int32_t>(i);
        ids.push_back(n * 3 - 1);
        wide.push_back(-n);
        weights.push_back(0.5f * static_cast<float>(n));
        items.push_back({ static_cast<int16_t>(n), 1.5f * static_cast<float>(n), n + 100, 0 });
    }
    std::vector<int64_t> extents = { 1, static_cast<int64_t>(count), 1000000 };
    shape_arrays(ids.data(), static_cast<int32_t>(count), extents.data(), weights.data(), scales.data(), items.data(),
                 count);
    ids.resize(count), wide.resize(count), weights.resize(count), items.resize(count);
    for (const Item &item : items) item_ids.push_back(item.id), item_weights.push_back(item.weight);
    Values()
        .numbers("ids", ids)
        .numbers("dimensions", extents)
        .reals("weights", weights)
        .reals("scales", scales)
        .numbers("item_ids", item_ids)
        .reals("item_weights", item_weights)
        .of("shape_arrays");

    std::vector<std::string>              words, few;
    std::vector<std::vector<std::string>> batch;
    for (size_t i = 0; i < count % 50; i++) words.push_back(made(i * 3, static_cast<int>(i)));
    for (size_t i = 0; i < 1 + count % 3; i++) {
        few.push_back(made(LENGTHS[i + 1], 9));
        batch.push_back(few);
    }
    shape_vectors(wide, words, batch, weights);
    Values()
        .numbers("ids", wide)
        .number("id_count", static_cast<int64_t>(wide.size()))
        .strings("words", words)
        .number("word_count", static_cast<int64_t>(words.size()))
        .strings("first", batch[0])
        .number("batch_size", static_cast<int64_t>(batch.size()))
        .reals("weights", weights)
        .of("shape_vectors");

    std::vector<const char *>    names     = { "input_ids", "", "attention_mask", "x" };
    std::vector<int32_t>         scattered = { 5, -6, 70000 };
    std::vector<const int32_t *> pointers  = { &scattered[2], &scattered[0], &scattered[1] };
    shape_lists(names.data(), names.size(), few.data(), static_cast<int32_t>(few.size()), pointers.data(), 3);
    Values()
        .strings("input_names", names)
        .strings("words", few)
        .numbers("scattered", std::vector<int32_t>{ 70000, 5, -6 })
        .of("shape_lists");
}

void call_gates() {
    const char *kinds[] = { "encode", "decode" };
    for (int kind = 0; kind < 3; kind++) {
        shape_words(kind - 1, static_cast<uint8_t>(kind));
        Values values;
        if (kind > 0) values.string("kind", kinds[kind - 1]);
        else values.number("kind", -1);
        values.number("type", kind).of("shape_words");
    }
    for (int number = -5; number < 15; number++) {
        int flags = number & 3;
        shape_kept(number, flags);
        if (number >= 2 && number != 7 && (flags & 2) != 0) Values().number("number", number).of("shape_kept");
    }
    for (uint32_t number = 0; number < 10; number++) {
        uint32_t time = number % 2 == 0 ? 0 : 20000 + number;
        shape_long(time);
        if (time > 0) Values().number("time", time).of("shape_long");
    }
    for (int number = 0; number < 100; number++) {
        shape_sampled(number);
        if (number % 10 == 0) Values().number("number", number).of("shape_sampled");
    }
    for (int number = 0; number < 100; number++) {
        shape_limited(number);
        if (number < 5) Values().number("number", number).of("shape_limited");
    }
    auto *nowhere = reinterpret_cast<const char *>(0x10);
    shape_unreadable(nowhere, nullptr, reinterpret_cast<const char *const *>(1));
    Values().string("text", "fault").string("numbers", "fault").string("names", "fault").of("shape_unreadable");
}

} // namespace

int main() {
    // One CPU: sampling counts per CPU.
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    report_start();
    report_and_wait("call");
    for (int turn = 0; turn < 20; turn++) call_plain(turn);
    for (size_t length : LENGTHS) call_texts(length);
    for (size_t count : { 0, 1, 7, 40, 1000 }) call_lists(count);
    call_gates();
    report_and_wait("end");
    return 0;
}
