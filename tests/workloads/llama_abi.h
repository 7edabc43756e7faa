// The part of llama.cpp's C interface that the workload calls, declared here so that no copy of the
// project's headers is needed. The layouts are those of 0.5.0 (28 Sep 2026) to 0.7.0 (19 Oct 2026),
// which agree in every field named below but for the flags of the context's parameters.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t llama_token;
typedef int32_t llama_pos;
typedef int32_t llama_seq_id;

struct llama_model_params {
    uint8_t before_gpu_layers[16];
    int32_t n_gpu_layers;
    uint8_t before_vocab_only[52];
    bool    vocab_only;
    uint8_t rest[7];
};
_Static_assert(offsetof(struct llama_model_params, n_gpu_layers) == 16, "layout");
_Static_assert(offsetof(struct llama_model_params, vocab_only) == 72, "layout");
_Static_assert(sizeof(struct llama_model_params) == 80, "layout");

struct llama_context_params {
    uint32_t n_ctx;
    uint32_t n_batch;
    uint32_t n_ubatch;
    uint32_t n_seq_max;
    uint8_t  before_threads[12];
    int32_t  n_threads;
    int32_t  n_threads_batch;
    uint8_t  before_flags[92];
    // Room for both layouts: a callee that knows the shorter one leaves the last 8 bytes alone, and
    // nothing follows the structure on the stack where it is passed by value.
    uint8_t  flags[40];
};
_Static_assert(offsetof(struct llama_context_params, n_threads) == 28, "layout");
_Static_assert(offsetof(struct llama_context_params, flags) == 128, "layout");
_Static_assert(sizeof(struct llama_context_params) == 168, "layout");

// The flags begin 8 bytes later since the first days of October 2026. Both layouts default to
// `embeddings` off and the three after it on, which tells them apart.
enum { EMBEDDINGS = 0, OFFLOAD_KQV = 1, KV_UNIFIED = 5 };

static inline bool *context_flag(struct llama_context_params *parameters, int flag) {
    int start = parameters->flags[OFFLOAD_KQV] ? 0 : 8;
    return (bool *) &parameters->flags[start + flag];
}

struct llama_batch {
    int32_t        n_tokens;
    llama_token   *token;
    float         *embd;
    llama_pos     *pos;
    int32_t       *n_seq_id;
    llama_seq_id **seq_id;
    int8_t        *logits;
};

struct llama_sampler_chain_params {
    bool no_perf;
};

struct llama_logit_bias {
    llama_token token;
    float       bias;
};

enum { PROCESS_ENCODE = 0, PROCESS_DECODE = 1 };

// Every function the workload uses, as (result, name, parameters). Objects of the library are `void`.
#define LLAMA_FUNCTIONS(F)                                                                          \
    F(void, llama_backend_init, (void))                                                             \
    F(void, llama_log_set, (void (*)(int, const char *, void *), void *))                           \
    F(struct llama_model_params, llama_model_default_params, (void))                                \
    F(struct llama_context_params, llama_context_default_params, (void))                            \
    F(void *, llama_model_load_from_file, (const char *, struct llama_model_params))                \
    F(void, llama_model_free, (void *))                                                             \
    F(void *, llama_model_get_vocab, (const void *))                                                \
    F(int32_t, llama_model_n_embd, (const void *))                                                  \
    F(void *, llama_init_from_model, (void *, struct llama_context_params))                         \
    F(void, llama_free, (void *))                                                                   \
    F(uint32_t, llama_n_ctx, (const void *))                                                        \
    F(void *, llama_get_memory, (const void *))                                                     \
    F(bool, llama_memory_seq_rm, (void *, llama_seq_id, llama_pos, llama_pos))                      \
    F(void, llama_memory_seq_cp, (void *, llama_seq_id, llama_seq_id, llama_pos, llama_pos))        \
    F(void, llama_memory_seq_add, (void *, llama_seq_id, llama_pos, llama_pos, llama_pos))          \
    F(struct llama_batch, llama_batch_init, (int32_t, int32_t, int32_t))                            \
    F(void, llama_batch_free, (struct llama_batch))                                                 \
    F(int32_t, llama_decode, (void *, struct llama_batch))                                          \
    F(int32_t, llama_tokenize,                                                                      \
      (const void *, const char *, int32_t, llama_token *, int32_t, bool, bool))                    \
    F(int32_t, llama_token_to_piece, (const void *, llama_token, char *, int32_t, int32_t, bool))   \
    F(int32_t, llama_vocab_n_tokens, (const void *))                                                \
    F(llama_token, llama_vocab_eos, (const void *))                                                 \
    F(bool, llama_vocab_is_eog, (const void *, llama_token))                                        \
    F(void *, llama_sampler_chain_init, (struct llama_sampler_chain_params))                        \
    F(struct llama_sampler_chain_params, llama_sampler_chain_default_params, (void))                \
    F(void, llama_sampler_chain_add, (void *, void *))                                              \
    F(void *, llama_sampler_init_greedy, (void))                                                    \
    F(void *, llama_sampler_init_dist, (uint32_t))                                                  \
    F(void *, llama_sampler_init_logit_bias, (int32_t, int32_t, const struct llama_logit_bias *))   \
    F(llama_token, llama_sampler_sample, (void *, void *, int32_t))                                 \
    F(void, llama_sampler_free, (void *))                                                           \
    F(float *, llama_get_logits_ith, (void *, int32_t))

// Present only in builds with the extended batches (after 28 Sep 2026).
#define LLAMA_PROCESS_FUNCTIONS(F)                                                                  \
    F(void *, llama_batch_ext_init, (void *))                                                       \
    F(void, llama_batch_ext_free, (void *))                                                         \
    F(void, llama_batch_ext_clear, (void *))                                                        \
    F(int32_t, llama_batch_ext_add_token, (void *, llama_seq_id, llama_token))                      \
    F(bool, llama_batch_ext_add_seq, (void *, int32_t, llama_seq_id))                               \
    F(bool, llama_batch_ext_set_pos, (void *, int32_t, const llama_pos *))                          \
    F(bool, llama_batch_ext_set_output_logits, (void *, int32_t, bool))                             \
    F(int32_t, llama_process, (void *, int, void *))
