// Runs real llama.cpp generations from a list of steps and reports every call as it begins and ends,
// so that a test can compare what a tracer saw with what was done. See README.md for the steps and
// the report's lines.
#define _GNU_SOURCE
#include "llama_abi.h"

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DECLARE(result, name, parameters) static result(*name) parameters;
LLAMA_FUNCTIONS(DECLARE)
LLAMA_PROCESS_FUNCTIONS(DECLARE)
#undef DECLARE

enum { MAX_CONTEXTS = 8, MAX_SEQUENCES = 8, MAX_POSITIONS = 8192, MAX_TOKENS = 8192 };

struct context {
    void        *handle;
    void        *batch_ext;
    llama_token  history[MAX_SEQUENCES][MAX_POSITIONS];
    int32_t      length[MAX_SEQUENCES];
};

static struct {
    const char *library;
    const char *backends;
    const char *model;
    const char *prompt;
    const char *say;
    bool        process_api;
    bool        own_sampler;
    bool        by_chance;
    bool        mute;
    int         report_fd;
    int         threads;
    int         tokens;
    int         eog_at;
    int         gpu_layers;
    int         pause_us;
    uint32_t    n_ctx, n_batch, n_ubatch, n_seq_max;
} options = {
    .prompt = "Once upon a time", .report_fd = 1, .threads = 1, .tokens = 16, .eog_at = -1,
    .n_ctx = 512, .n_batch = 512, .n_ubatch = 512, .n_seq_max = 4,
};

static void           *model;
static const void     *vocab;
static void           *greedy, *ending, *chance;
static llama_token     said[MAX_TOKENS];
static int32_t         n_said;
static struct context *contexts[MAX_CONTEXTS];
static int             current = -1;
static uint64_t        calls;

// A batch under construction: what the call is given and what the report says it was given.
static struct {
    int32_t      n;
    llama_token  token[MAX_TOKENS];
    llama_pos    pos[MAX_TOKENS];
    int32_t      n_seq[MAX_TOKENS];
    llama_seq_id seq[MAX_TOKENS][MAX_SEQUENCES];
    bool         output[MAX_TOKENS];
} batch;

// ---------------------------------------------------------------------------------------- report

static char   line[MAX_TOKENS * 40];
static size_t line_length;

static uint64_t boot_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

static void put(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line + line_length, sizeof line - line_length, format, arguments);
    va_end(arguments);
    if (n < 0 || (size_t) n >= sizeof line - line_length) {
        fprintf(stderr, "workload: a report line does not fit\n");
        exit(70);
    }
    line_length += (size_t) n;
}

static void begin_line(const char *event) {
    line_length = 0;
    put("{\"ev\":\"%s\",\"tid\":%d,\"boot_ns\":%llu", event, gettid(), (unsigned long long) boot_ns());
}

// One write(2) per line of up to a pipe's capacity: what was written survives the writer's death.
static void end_line(void) {
    put("}\n");
    for (size_t done = 0; done < line_length;) {
        ssize_t n = write(options.report_fd, line + done, line_length - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) _exit(71);
        done += (size_t) n;
    }
}

static void put_string(const char *name, const char *value) {
    put(",\"%s\":\"", name);
    for (const unsigned char *c = (const unsigned char *) value; *c; c++) {
        if (*c == '"' || *c == '\\') put("\\%c", *c);
        else if (*c < 0x20) put("\\u%04x", *c);
        else put("%c", *c);
    }
    put("\"");
}

static void put_pointer(const char *name, const void *pointer) { put(",\"%s\":\"%p\"", name, pointer); }

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "workload: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(64);
}

// ----------------------------------------------------------------------------------------- calls

static struct context *context(void) {
    if (current < 0 || !contexts[current]) fail("this step needs a context");
    return contexts[current];
}

static void batch_clear(void) { batch.n = 0; }

static void batch_add(llama_token token, llama_pos pos, llama_seq_id seq, bool output) {
    if (batch.n == MAX_TOKENS) fail("the batch is full");
    batch.token[batch.n]  = token;
    batch.pos[batch.n]    = pos;
    batch.n_seq[batch.n]  = 1;
    batch.seq[batch.n][0] = seq;
    batch.output[batch.n] = output;
    batch.n++;
}

static void report_decode_begin(uint64_t call, const void *handle) {
    begin_line("decode_begin");
    put(",\"call\":%llu", (unsigned long long) call);
    put_pointer("ctx", handle);
    put(",\"tokens\":[");
    for (int i = 0; i < batch.n; i++) put("%s%d", i ? "," : "", batch.token[i]);
    put("],\"pos\":[");
    for (int i = 0; i < batch.n; i++) put("%s%d", i ? "," : "", batch.pos[i]);
    put("],\"seq\":[");
    for (int i = 0; i < batch.n; i++) {
        put("%s[", i ? "," : "");
        for (int k = 0; k < batch.n_seq[i]; k++) put("%s%d", k ? "," : "", batch.seq[i][k]);
        put("]");
    }
    put("]");
    end_line();
}

static void report_decode_end(uint64_t call, const void *handle, int32_t result) {
    begin_line("decode_end");
    put(",\"call\":%llu,\"ret\":%d", (unsigned long long) call, result);
    put_pointer("ctx", handle);
    end_line();
}

static int32_t call_decode(void *handle) {
    struct llama_batch b = llama_batch_init(batch.n, 0, MAX_SEQUENCES);
    b.n_tokens           = batch.n;
    for (int i = 0; i < batch.n; i++) {
        b.token[i]    = batch.token[i];
        b.pos[i]      = batch.pos[i];
        b.n_seq_id[i] = batch.n_seq[i];
        b.logits[i]   = batch.output[i];
        memcpy(b.seq_id[i], batch.seq[i], sizeof batch.seq[i]);
    }
    int32_t result = llama_decode(handle, b);
    llama_batch_free(b);
    return result;
}

static int32_t call_process(struct context *c) {
    llama_batch_ext_clear(c->batch_ext);
    for (int i = 0; i < batch.n; i++) {
        int32_t at = llama_batch_ext_add_token(c->batch_ext, batch.seq[i][0], batch.token[i]);
        if (at < 0) fail("llama_batch_ext_add_token returned %d", at);
        for (int k = 1; k < batch.n_seq[i]; k++) llama_batch_ext_add_seq(c->batch_ext, at, batch.seq[i][k]);
        llama_batch_ext_set_pos(c->batch_ext, at, &batch.pos[i]);
        llama_batch_ext_set_output_logits(c->batch_ext, at, batch.output[i]);
    }
    return llama_process(c->handle, PROCESS_DECODE, c->batch_ext);
}

static int32_t decode(void) {
    struct context *c    = context();
    uint64_t        call = calls++;
    report_decode_begin(call, c->handle);
    int32_t result = options.process_api ? call_process(c) : call_decode(c->handle);
    report_decode_end(call, c->handle, result);
    if (result == 0) {
        for (int i = 0; i < batch.n; i++) {
            for (int k = 0; k < batch.n_seq[i]; k++) {
                llama_seq_id seq = batch.seq[i][k];
                if (batch.pos[i] >= MAX_POSITIONS) fail("position %d is too far", batch.pos[i]);
                c->history[seq][batch.pos[i]] = batch.token[i];
                c->length[seq]                = batch.pos[i] + 1;
            }
        }
    }
    if (options.pause_us) usleep((useconds_t) options.pause_us);
    return result;
}

static llama_token own_argmax(const float *logits) {
    llama_token best = 0;
    for (llama_token id = 1; id < llama_vocab_n_tokens(vocab); id++) {
        if (logits[id] > logits[best]) best = id;
    }
    return best;
}

// The natural logarithm of the probability that the model gives a token.
static double log_probability(const float *logits, llama_token token) {
    float  most = logits[own_argmax(logits)];
    double sum  = 0;
    for (llama_token id = 0; id < llama_vocab_n_tokens(vocab); id++) sum += exp((double) logits[id] - most);
    return (double) logits[token] - most - log(sum);
}

// A sampler that chooses one token.
static void *sampler_of(llama_token token) {
    struct llama_logit_bias bias = { token, 1e9f };
    void                   *chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(chain, llama_sampler_init_logit_bias(llama_vocab_n_tokens(vocab), 1, &bias));
    llama_sampler_chain_add(chain, llama_sampler_init_dist(7));
    return chain;
}

static llama_token sample(llama_seq_id seq, int32_t index, bool end, const llama_token *wanted) {
    struct context *c = context();
    llama_token     id;
    double          likely = NAN;
    if (wanted) {
        void *sampler = sampler_of(*wanted);
        id            = llama_sampler_sample(sampler, c->handle, index);
        llama_sampler_free(sampler);
    } else if (options.own_sampler && !end) id = own_argmax(llama_get_logits_ith(c->handle, index));
    else id = llama_sampler_sample(end ? ending : options.by_chance ? chance : greedy, c->handle, index);
    if (options.by_chance && !end && !wanted) likely = log_probability(llama_get_logits_ith(c->handle, index), id);

    char    piece[256];
    int32_t n = llama_token_to_piece(vocab, id, piece, sizeof piece, 0, true);
    begin_line("sampled");
    put_pointer("ctx", c->handle);
    put(",\"seq\":%d,\"token\":%d,\"eog\":%s,\"piece_hex\":\"", seq, id, llama_vocab_is_eog(vocab, id) ? "true" : "false");
    for (int i = 0; i < n; i++) put("%02x", (unsigned char) piece[i]);
    put("\"");
    if (!isnan(likely)) put(",\"log_probability\":%.9f", likely);
    end_line();
    return id;
}

static bool seq_rm(llama_seq_id seq, llama_pos from, llama_pos to) {
    struct context *c = context();
    begin_line("seq_rm");
    put_pointer("ctx", c->handle);
    put(",\"seq\":%d,\"p0\":%d,\"p1\":%d", seq, from, to);
    end_line();
    bool done = llama_memory_seq_rm(llama_get_memory(c->handle), seq, from, to);
    if (to < 0) c->length[seq] = from < 0 ? 0 : from;
    return done;
}

static int32_t tokenize(const char *text, llama_token *tokens) {
    int32_t n = llama_tokenize(vocab, text, (int32_t) strlen(text), tokens, MAX_TOKENS, true, false);
    begin_line("tokenize");
    put_string("text", text);
    put(",\"ret\":%d", n);
    end_line();
    if (n <= 0) fail("the prompt did not tokenise: %d", n);
    return n;
}

// ----------------------------------------------------------------------------------------- steps

static void step_load(const char *path) {
    if (!path) path = options.model;
    if (!path) fail("`load` needs --model or a path");
    struct llama_model_params parameters = llama_model_default_params();
    parameters.n_gpu_layers              = options.gpu_layers;
    begin_line("load_begin");
    put_string("path", path);
    put(",\"n_gpu_layers\":%d", parameters.n_gpu_layers);
    end_line();
    void *loaded = llama_model_load_from_file(path, parameters);
    begin_line("load_end");
    put_pointer("model", loaded);
    end_line();
    if (!loaded) return;
    model = loaded;
    vocab = llama_model_get_vocab(model);

    greedy = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(greedy, llama_sampler_init_greedy());
    struct llama_logit_bias bias = { llama_vocab_eos(vocab), 1e9f };
    ending                       = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(ending, llama_sampler_init_logit_bias(llama_vocab_n_tokens(vocab), 1, &bias));
    llama_sampler_chain_add(ending, llama_sampler_init_greedy());
    chance = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(chance, llama_sampler_init_dist(7));
    if (options.say) {
        n_said = llama_tokenize(vocab, options.say, (int32_t) strlen(options.say), said, MAX_TOKENS, false, false);
        if (n_said < 0) fail("--say is too long");
    }
}

static void step_context(const char *embeddings) {
    if (!model) fail("`context` comes after `load`");
    int slot = 0;
    while (slot < MAX_CONTEXTS && contexts[slot]) slot++;
    if (slot == MAX_CONTEXTS) fail("too many contexts");
    struct llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx                       = options.n_ctx;
    parameters.n_batch                     = options.n_batch;
    parameters.n_ubatch                    = options.n_ubatch;
    parameters.n_seq_max                   = options.n_seq_max;
    parameters.n_threads                   = options.threads;
    parameters.n_threads_batch             = options.threads;
    *context_flag(&parameters, EMBEDDINGS) = embeddings != NULL;
    *context_flag(&parameters, KV_UNIFIED) = true;
    begin_line("context_begin");
    put_pointer("model", model);
    put(",\"n_ctx\":%u,\"n_batch\":%u,\"n_ubatch\":%u,\"n_seq_max\":%u", parameters.n_ctx, parameters.n_batch,
        parameters.n_ubatch, parameters.n_seq_max);
    end_line();
    void *handle = llama_init_from_model(model, parameters);
    begin_line("context_end");
    put_pointer("ctx", handle);
    put(",\"n_ctx\":%u", handle ? llama_n_ctx(handle) : 0);
    end_line();
    if (!handle) return;
    struct context *c = calloc(1, sizeof *c);
    if (!c) fail("out of memory");
    c->handle = handle;
    if (options.process_api) c->batch_ext = llama_batch_ext_init(handle);
    contexts[slot] = c;
    current        = slot;
}

// Feeds `tokens` from position `from` on and returns the index whose logits follow the last of them.
static int32_t prefill(llama_seq_id seq, const llama_token *tokens, int32_t from, int32_t n) {
    for (int32_t at = from; at < n;) {
        int32_t chunk = n - at < (int32_t) options.n_batch ? n - at : (int32_t) options.n_batch;
        batch_clear();
        for (int32_t i = 0; i < chunk; i++) batch_add(tokens[at + i], at + i, seq, at + i == n - 1);
        if (decode() != 0) return -1;
        at += chunk;
    }
    return batch.n - 1;
}

// Samples up to `n` tokens one by one; each but the last is fed back.
static void continue_generation(llama_seq_id seq, int32_t index, int n) {
    for (int i = 0; i < n; i++) {
        bool        end = i == options.eog_at;
        llama_token id  = sample(seq, index, end, i < n_said ? &said[i] : NULL);
        if (end || i == n - 1) return;
        batch_clear();
        batch_add(id, context()->length[seq], seq, true);
        if (decode() != 0) return;
        index = 0;
    }
}

static void step_generate(const char *count) {
    static llama_token tokens[MAX_TOKENS];
    int32_t            n = tokenize(options.prompt, tokens);
    if (context()->length[0] > 0) seq_rm(0, -1, -1);
    int32_t index = prefill(0, tokens, 0, n);
    if (index >= 0) continue_generation(0, index, count ? atoi(count) : options.tokens);
}

// As a server does: the cached prefix stays, the last prompt token is always fed again.
static void step_reuse(const char *count) {
    static llama_token tokens[MAX_TOKENS];
    struct context    *c    = context();
    int32_t            n    = tokenize(options.prompt, tokens);
    int32_t            keep = 0;
    while (keep < n - 1 && keep < c->length[0] && c->history[0][keep] == tokens[keep]) keep++;
    seq_rm(0, keep, -1);
    int32_t index = prefill(0, tokens, keep, n);
    if (index >= 0) continue_generation(0, index, count ? atoi(count) : options.tokens);
}

static void step_parallel(const char *count) {
    static llama_token tokens[MAX_TOKENS];
    int                sequences = count ? atoi(count) : 2;
    if (sequences < 1 || sequences > (int) options.n_seq_max) fail("--n-seq-max is %u", options.n_seq_max);
    int32_t     n = tokenize(options.prompt, tokens);
    int32_t     at[MAX_SEQUENCES];
    llama_token next[MAX_SEQUENCES];
    batch_clear();
    for (int s = 0; s < sequences; s++) {
        if (context()->length[s] > 0) seq_rm(s, -1, -1);
        // A different second token for each sequence keeps the sequences apart.
        for (int32_t i = 0; i < n; i++) batch_add(i == 1 ? tokens[i] + s : tokens[i], i, s, i == n - 1);
        at[s] = batch.n - 1;
    }
    if (decode() != 0) return;
    for (int i = 0; i < options.tokens; i++) {
        for (int s = 0; s < sequences; s++) next[s] = sample(s, at[s], false, NULL);
        if (i == options.tokens - 1) return;
        batch_clear();
        for (int s = 0; s < sequences; s++) {
            batch_add(next[s], context()->length[s], s, true);
            at[s] = s;
        }
        if (decode() != 0) return;
    }
}

// One prompt that belongs to two sequences at once, each continued by its own tokens.
static void step_shared(const char *unused) {
    (void) unused;
    static llama_token tokens[MAX_TOKENS];
    int32_t            n = tokenize(options.prompt, tokens);
    for (int s = 0; s < 2; s++) {
        if (context()->length[s] > 0) seq_rm(s, -1, -1);
    }
    batch_clear();
    for (int32_t i = 0; i < n; i++) {
        batch_add(tokens[i], i, 0, i == n - 1);
        batch.n_seq[i]  = 2;
        batch.seq[i][1] = 1;
    }
    if (decode() != 0) return;
    llama_token id = sample(0, n - 1, false, NULL);
    batch_clear();
    batch_add(id, n, 0, true);
    batch_add(id + 1, n, 1, true);
    decode();
}

static void step_copy(const char *unused) {
    (void) unused;
    struct context *c = context();
    begin_line("seq_cp");
    put_pointer("ctx", c->handle);
    put(",\"from\":0,\"to\":1");
    end_line();
    llama_memory_seq_cp(llama_get_memory(c->handle), 0, 1, -1, -1);
    memcpy(c->history[1], c->history[0], sizeof c->history[0]);
    c->length[1] = c->length[0];
    batch_clear();
    batch_add(c->history[1][c->length[1] - 1], c->length[1], 1, true);
    if (decode() == 0) continue_generation(1, 0, options.tokens);
}

// Speculative decoding with drafts that are all wrong but the first `accepted`.
static void step_draft(const char *count) {
    enum { DRAFTS = 4 };
    struct context *c        = context();
    int             accepted = count ? atoi(count) : 1;
    if (accepted < 0 || accepted > DRAFTS) fail("`draft` accepts 0 to %d", DRAFTS);
    int32_t     start = c->length[0];
    llama_token last  = c->history[0][start - 1];
    batch_clear();
    batch_add(last, start, 0, true);
    for (int i = 0; i < DRAFTS; i++) batch_add((last + 1 + i) % llama_vocab_n_tokens(vocab), start + 1 + i, 0, true);
    if (decode() != 0) return;
    llama_token id = sample(0, accepted, false, NULL);
    seq_rm(0, start + 1 + accepted, -1);
    batch_clear();
    batch_add(id, c->length[0], 0, true);
    if (decode() == 0) continue_generation(0, 0, options.tokens);
}

// Context shift: the oldest positions after the first go, the rest move down.
static void step_shift(const char *count) {
    struct context *c = context();
    int             n = count ? atoi(count) : 4;
    seq_rm(0, 1, 1 + n);
    begin_line("seq_add");
    put_pointer("ctx", c->handle);
    put(",\"seq\":0,\"p0\":%d,\"p1\":-1,\"delta\":%d", 1 + n, -n);
    end_line();
    llama_memory_seq_add(llama_get_memory(c->handle), 0, 1 + n, -1, -n);
    memmove(&c->history[0][1], &c->history[0][1 + n], sizeof(llama_token) * (size_t) (c->length[0] - 1 - n));
    c->length[0] -= n;
    batch_clear();
    batch_add(c->history[0][c->length[0] - 1], c->length[0], 0, true);
    if (decode() == 0) continue_generation(0, 0, options.tokens);
}

// A hole in the sequence's positions, which both interfaces refuse as an invalid batch.
static void step_bad(const char *unused) {
    (void) unused;
    batch_clear();
    batch_add(100, context()->length[0] + 5, 0, true);
    decode();
}

// More tokens than the context has cells, so that no slot is found for the last batch.
static void step_full(const char *unused) {
    (void) unused;
    struct context *c     = context();
    int32_t         total = (int32_t) llama_n_ctx(c->handle) + 1;
    seq_rm(0, -1, -1);
    for (int32_t at = 0; at < total;) {
        batch_clear();
        for (uint32_t i = 0; i < options.n_batch && at + (int32_t) i < total; i++) {
            batch_add(100 + (at + (int32_t) i) % 1000, at + (int32_t) i, 0, at + (int32_t) i == total - 1);
        }
        if (decode() != 0) break;
        at += batch.n;
    }
    seq_rm(0, -1, -1);
}

// Embeddings instead of token ids: the call's token pointer is null.
static void step_embeddings(const char *unused) {
    (void) unused;
    enum { ROWS = 3 };
    struct context *c     = context();
    int32_t         width = llama_model_n_embd(model);
    if (options.process_api) fail("`embeddings` is written for --api decode");
    if (c->length[0] > 0) seq_rm(0, -1, -1);
    struct llama_batch b = llama_batch_init(ROWS, width, 1);
    b.n_tokens           = ROWS;
    for (int i = 0; i < ROWS; i++) {
        for (int32_t k = 0; k < width; k++) b.embd[i * width + k] = (float) ((i + k) % 5) * 0.1f;
        b.pos[i]       = i;
        b.n_seq_id[i]  = 1;
        b.seq_id[i][0] = 0;
        b.logits[i]    = i == ROWS - 1;
    }
    uint64_t call = calls++;
    begin_line("decode_begin");
    put(",\"call\":%llu,\"embeddings\":%d", (unsigned long long) call, ROWS);
    put_pointer("ctx", c->handle);
    put(",\"tokens\":null,\"pos\":[0,1,2],\"seq\":[[0],[0],[0]]");
    end_line();
    int32_t result = llama_decode(c->handle, b);
    report_decode_end(call, c->handle, result);
    llama_batch_free(b);
    c->length[0] = ROWS;
}

static void step_use(const char *slot) {
    int wanted = slot ? atoi(slot) : 0;
    if (wanted < 0 || wanted >= MAX_CONTEXTS || !contexts[wanted]) fail("there is no context %d", wanted);
    current = wanted;
}

static void step_prompt(const char *text) { options.prompt = text ? text : ""; }

static void step_free(const char *unused) {
    (void) unused;
    struct context *c = context();
    begin_line("context_free");
    put_pointer("ctx", c->handle);
    end_line();
    if (c->batch_ext) llama_batch_ext_free(c->batch_ext);
    llama_free(c->handle);
    free(c);
    contexts[current] = NULL;
    current           = -1;
    for (int slot = 0; slot < MAX_CONTEXTS; slot++) {
        if (contexts[slot]) current = slot;
    }
}

static void step_unload(const char *unused) {
    (void) unused;
    llama_sampler_free(greedy);
    llama_sampler_free(ending);
    llama_sampler_free(chance);
    begin_line("model_free");
    put_pointer("model", model);
    end_line();
    llama_model_free(model);
    model = NULL;
}

static void step_wait(const char *name) {
    begin_line("waiting");
    put_string("for", name ? name : "");
    end_line();
    char byte;
    do {
        ssize_t n = read(0, &byte, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) fail("nobody answered `wait`: standard input is closed");
    } while (byte != '\n');
}

static void step_sleep(const char *milliseconds) { usleep((useconds_t) (milliseconds ? atoi(milliseconds) : 100) * 1000); }

static const struct {
    const char *name;
    void (*run)(const char *argument);
} STEPS[] = {
    { "load", step_load },         { "context", step_context }, { "generate", step_generate },
    { "reuse", step_reuse },       { "parallel", step_parallel }, { "shared", step_shared },
    { "copy", step_copy },         { "draft", step_draft },     { "shift", step_shift },
    { "bad", step_bad },           { "full", step_full },       { "embeddings", step_embeddings },
    { "use", step_use },           { "prompt", step_prompt },   { "free", step_free },
    { "unload", step_unload },     { "wait", step_wait },       { "sleep", step_sleep },
};

static void run_step(char *step) {
    char *argument = strchr(step, '=');
    char  name[32];
    snprintf(name, sizeof name, "%.*s", (int) (argument ? argument - step : (long) strlen(step)), step);
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++) {
        if (strcmp(STEPS[i].name, name) == 0) {
            STEPS[i].run(argument ? argument + 1 : NULL);
            return;
        }
    }
    fail("there is no step `%s`", name);
}

// ----------------------------------------------------------------------------------------- start

static void log_line(int level, const char *text, void *unused) {
    (void) level, (void) unused;
    if (!options.mute) fputs(text, stderr);
}

static void open_library(void) {
    void *library = dlopen(options.library, RTLD_NOW | RTLD_GLOBAL);
    if (!library) library = dlopen(options.library, RTLD_LAZY | RTLD_GLOBAL);
    if (!library) fail("cannot open the library: %s", dlerror());
#define RESOLVE(result, name, parameters)                                                           \
    *(void **) &name = dlsym(library, #name);                                                       \
    if (!name) fail("%s has no " #name, options.library);
    LLAMA_FUNCTIONS(RESOLVE)
    if (options.process_api) {
        LLAMA_PROCESS_FUNCTIONS(RESOLVE)
    }
#undef RESOLVE
    const char *(*version)(void);
    *(void **) &version = dlsym(library, "llama_version");
    if (version) {
        begin_line("version");
        put(",\"version\":\"%s\"", version());
        end_line();
    }
    llama_log_set(log_line, NULL);
    if (options.backends) {
        void (*load_backends)(const char *);
        *(void **) &load_backends = dlsym(library, "ggml_backend_load_all_from_path");
        if (!load_backends) fail("%s has no ggml_backend_load_all_from_path", options.library);
        load_backends(options.backends);
    }
    llama_backend_init();
}

static const char *value_of(int argc, char **argv, int *i) {
    if (*i + 1 >= argc) fail("%s needs a value", argv[*i]);
    return argv[++*i];
}

// Also the entry point when this file is built as a shared object for a Python host.
int workload_main(int argc, char **argv) {
    int repeat = 1, i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *name = argv[i] + 2;
        if (strcmp(name, "mute") == 0) options.mute = true;
        else if (strcmp(name, "own-sampler") == 0) options.own_sampler = true;
        else if (strcmp(name, "by-chance") == 0) options.by_chance = true;
        else {
            const char *value = value_of(argc, argv, &i);
            if (strcmp(name, "library") == 0) options.library = value;
            else if (strcmp(name, "backends") == 0) options.backends = value;
            else if (strcmp(name, "model") == 0) options.model = value;
            else if (strcmp(name, "prompt") == 0) options.prompt = value;
            else if (strcmp(name, "say") == 0) options.say = value;
            else if (strcmp(name, "api") == 0) options.process_api = strcmp(value, "process") == 0;
            else if (strcmp(name, "report-fd") == 0) options.report_fd = atoi(value);
            else if (strcmp(name, "threads") == 0) options.threads = atoi(value);
            else if (strcmp(name, "n") == 0) options.tokens = atoi(value);
            else if (strcmp(name, "eog-at") == 0) options.eog_at = atoi(value);
            else if (strcmp(name, "gpu-layers") == 0) options.gpu_layers = atoi(value);
            else if (strcmp(name, "pause-us") == 0) options.pause_us = atoi(value);
            else if (strcmp(name, "n-ctx") == 0) options.n_ctx = (uint32_t) atoi(value);
            else if (strcmp(name, "n-batch") == 0) options.n_batch = (uint32_t) atoi(value);
            else if (strcmp(name, "n-ubatch") == 0) options.n_ubatch = (uint32_t) atoi(value);
            else if (strcmp(name, "n-seq-max") == 0) options.n_seq_max = (uint32_t) atoi(value);
            else if (strcmp(name, "repeat") == 0) repeat = atoi(value);
            else fail("there is no option --%s", name);
        }
    }
    if (!options.library) fail("--library is required");
    if (options.n_seq_max > MAX_SEQUENCES) fail("--n-seq-max is at most %d", MAX_SEQUENCES);
    begin_line("start");
    put(",\"pid\":%d,\"uid\":%d", getpid(), getuid());
    end_line();
    open_library();
    for (int round = 0; round < repeat; round++) {
        for (int k = i; k < argc; k++) {
            // What a process does once happens once: only the generations are repeated.
            if (round > 0 && (strncmp(argv[k], "load", 4) == 0 || strncmp(argv[k], "context", 7) == 0 ||
                              strncmp(argv[k], "wait", 4) == 0)) continue;
            run_step(argv[k]);
        }
    }
    begin_line("done");
    put(",\"calls\":%llu", (unsigned long long) calls);
    end_line();
    return 0;
}

int main(int argc, char **argv) { return workload_main(argc, argv); }
