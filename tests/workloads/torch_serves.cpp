/* usage: torch_serves STEPS

   A decoder of eight layers with random weights on the real libtorch_cpu, for measuring: each step feeds one token,
   whose keys and values are kept, and takes the most likely next one. It waits once, and reports `first` when it has
   its first answer, `measured` when it is warm and when it is done. */

#include <ctime>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/add.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "report.h"

namespace {

constexpr int64_t width = 512, heads = 8, vocabulary = 8000;
constexpr int layers = 8;
constexpr uint64_t warm_up = 10;

struct Layer {
	at::Tensor query, key, value, output, up, down;
	/* One row for each token so far. */
	at::Tensor keys, values;
};

at::Tensor weights(int64_t rows, int64_t columns)
{
	return at::mul(at::randn({rows, columns}), 0.05);
}

at::Tensor by_head(const at::Tensor &tensor)
{
	return tensor.view({1, 1, heads, width / heads}).transpose(1, 2);
}

at::Tensor normalized(const at::Tensor &tensor)
{
	return at::layer_norm(tensor, {width});
}

at::Tensor forward(at::Tensor hidden, Layer &layer)
{
	const at::Tensor input = normalized(hidden);
	const at::Tensor key = by_head(at::linear(input, layer.key)), value = by_head(at::linear(input, layer.value));
	layer.keys = layer.keys.defined() ? at::cat({layer.keys, key}, 2) : key;
	layer.values = layer.values.defined() ? at::cat({layer.values, value}, 2) : value;
	const at::Tensor query = by_head(at::linear(input, layer.query));
	const at::Tensor seen = at::scaled_dot_product_attention(query, layer.keys, layer.values);
	hidden = at::add(hidden, at::linear(seen.transpose(1, 2).reshape({1, 1, width}), layer.output));
	return at::add(hidden, at::linear(at::gelu(at::linear(normalized(hidden), layer.up)), layer.down));
}

uint64_t nanoseconds(clockid_t clock)
{
	timespec now;
	clock_gettime(clock, &now);
	return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

void measured(uint64_t calls, uint64_t checksum)
{
	report("measured", ",\"calls\":%lu,\"warm_up\":%lu,\"cpu_ns\":%lu,\"checksum\":%lu", calls, warm_up,
	       nanoseconds(CLOCK_PROCESS_CPUTIME_ID), checksum);
}

} // namespace

int main(int count, char **arguments)
{
	const uint64_t steps = number_argument(count, arguments, 1, 100);
	at::set_num_threads(1);
	std::vector<Layer> model(layers);
	for (Layer &layer : model) {
		for (at::Tensor *square : {&layer.query, &layer.key, &layer.value, &layer.output})
			*square = weights(width, width);
		layer.up = weights(4 * width, width);
		layer.down = weights(width, 4 * width);
	}
	const at::Tensor tokens = weights(vocabulary, width);
	report_start();
	report_and_wait("serve");
	uint64_t checksum = 0;
	int64_t token = 1;
	for (uint64_t number = 0; number < warm_up + steps; number++) {
		if (number == warm_up)
			measured(0, checksum);
		const uint64_t begin = nanoseconds(CLOCK_MONOTONIC);
		at::Tensor hidden = at::embedding(tokens, at::full({1, 1}, token, at::kLong));
		for (Layer &layer : model)
			hidden = forward(hidden, layer);
		token = at::linear(normalized(hidden), tokens).argmax().item<int64_t>();
		checksum = checksum * 31 + static_cast<uint64_t>(token);
		if (number == 0)
			report("first", ",\"took_ns\":%lu", nanoseconds(CLOCK_MONOTONIC) - begin);
	}
	measured(steps, checksum);
	return 0;
}
