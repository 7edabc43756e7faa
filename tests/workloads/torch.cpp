/* usage: torch MODEL [rounds | silent]

   Runs a tiny model eagerly on the real libtorch_cpu, as PyTorch's Python does underneath, and says what it
   passed: token ids to `embedding`, matrices to a method in TorchScript, and the path of an archive to
   `PyTorchStreamReader`. With `rounds` it does
   the same again and again instead, on one thread, and reports a checksum of what it was answered. With `silent`
   it calls nothing of it, and uses 14 seconds of CPU time. */

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <optional>
#include <string>
#include <unistd.h>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/arange.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/jit.h>

namespace {

void report(const char *event, const std::string &rest)
{
	timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	std::printf("{\"ev\":\"%s\",\"tid\":%d,\"boot_ns\":%lld%s}\n", event, gettid(),
		    static_cast<long long>(now.tv_sec) * 1000000000 + now.tv_nsec, rest.c_str());
	std::fflush(stdout);
}

void wait_for(const char *what)
{
	report("waiting", std::string(",\"for\":\"") + what + "\"");
	if (std::getchar() == EOF)
		std::exit(72);
}

void called(const char *function, const std::string &values, bool unwound = false)
{
	report("call", std::string(",\"function\":\"") + function + "\",\"values\":{" + values + "},\"unwound\":" +
			       (unwound ? "true" : "false"));
}

std::string list(const std::vector<int64_t> &numbers)
{
	std::string text = "[";
	for (size_t index = 0; index < numbers.size(); index++)
		text += (index ? "," : "") + std::to_string(numbers[index]);
	return text + "]";
}

at::Tensor floats(int64_t rows, int64_t columns)
{
	return at::sin(at::arange(rows * columns, at::kFloat)).reshape({rows, columns});
}

/* One step of a language model: its last token's most likely successor. */
int64_t step(const std::vector<int64_t> &ids, const at::Tensor &weight)
{
	std::vector<int64_t> copy = ids;
	auto length = static_cast<int64_t>(copy.size());
	at::Tensor indices = at::from_blob(copy.data(), {1, length}, at::kLong);
	at::Tensor hidden = at::embedding(weight, indices).unsqueeze(1);
	hidden = at::scaled_dot_product_attention(hidden, hidden, hidden, {}, 0.0, true);
	at::Tensor logits = at::linear(hidden, weight).reshape({length, weight.size(0)});
	return logits[length - 1].argmax().item<int64_t>();
}

/* A method in TorchScript, of two matrices whose sides must fit. */
void script(torch::jit::CompilationUnit &unit, int64_t columns, int64_t rows)
{
	bool failed = false;
	try {
		unit.run_method("product", floats(2, columns), floats(rows, 2));
	} catch (const std::exception &) {
		failed = true;
	}
	called("script", "", failed);
}

/* A step that says what it passed to `embedding`; nothing if that threw, as it does where the vocabulary has no
   such token. The next step shows that to whoever traces: it reaches as deep into the stack. */
std::optional<int64_t> reported_step(const std::vector<int64_t> &ids, const at::Tensor &weight)
{
	std::optional<int64_t> next;
	try {
		next = step(ids, weight);
	} catch (const std::exception &) {
	}
	const auto length = static_cast<int64_t>(ids.size());
	called("embedding", "\"ranks\":2,\"dimensions\":" + list({1, length}) + ",\"elements\":" +
				std::to_string(length) + ",\"element_type\":\"int64\",\"token_ids\":" + list(ids),
	       !next);
	return next;
}

int64_t cpu_ns()
{
	timespec used;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return static_cast<int64_t>(used.tv_sec) * 1000000000 + used.tv_nsec;
}

/* Busy with something else, in user mode, with a word now and then. */
void be_busy(int64_t seconds)
{
	const int64_t begin = cpu_ns();
	volatile uint64_t sum = 0;
	for (int64_t second = 1; second <= seconds; second++) {
		while (cpu_ns() - begin < second * 1000000000)
			for (int number = 0; number < 1000000; number++)
				sum = sum * 31 + 1;
		report("measured", ",\"calls\":0,\"warm_up\":0,\"cpu_ns\":" + std::to_string(cpu_ns()) +
					   ",\"checksum\":0");
	}
}

void read(const std::string &path)
{
	bool loaded = false;
	try {
		caffe2::serialize::PyTorchStreamReader reader(path);
		reader.getRecord("weight");
		loaded = true;
	} catch (const std::exception &) {
	}
	report("load", ",\"path\":\"" + path + "\",\"loaded\":" + (loaded ? "true" : "false"));
}

} // namespace

/* The steps of one round, and what they came to. */
uint64_t round_of(const std::string &path, const at::Tensor &weight)
{
	uint64_t sum = 0;
	try {
		caffe2::serialize::PyTorchStreamReader reader(path + ".absent");
	} catch (const std::exception &) {
		sum = 1;
	}
	caffe2::serialize::PyTorchStreamReader reader(path);
	sum += std::get<1>(reader.getRecord("weight"));
	std::vector<int64_t> ids = {7, 99, 3, 42};
	for (int number = 0; number < 3; number++) {
		ids.push_back(step(ids, weight));
		sum = sum * 31 + static_cast<uint64_t>(ids.back());
	}
	try {
		at::linear(weight, at::arange(3, at::kFloat));
	} catch (const std::exception &) {
		sum = sum * 31 + 1;
	}
	return sum;
}

int main(int count, char **arguments)
{
	if (count != 2 && count != 3)
		return 64;
	const std::string path = arguments[1];
	const at::Tensor weight = floats(100, 16);
	{
		caffe2::serialize::PyTorchStreamWriter writer(path);
		writer.writeRecord("weight", weight.data_ptr(), weight.nbytes());
		writer.writeEndOfFile();
	}
	report("start", ",\"pid\":" + std::to_string(getpid()) + ",\"uid\":" + std::to_string(getuid()));
	if (count == 3 && std::string(arguments[2]) == "silent") {
		wait_for("work");
		be_busy(14);
		wait_for("end");
		std::remove(path.c_str());
		return 0;
	}
	if (count == 3) {
		at::set_num_threads(1);
		round_of(path, weight);
		for (int number = 0; number < 3; number++) {
			wait_for("a round");
			report("counts", ",\"functions\":{},\"checksum\":" + std::to_string(round_of(path, weight)));
		}
		wait_for("the end");
		std::remove(path.c_str());
		return 0;
	}
	wait_for("call");
	read("/nowhere/model.pt");
	read(path);
	std::vector<int64_t> ids = {7, 99, 3, 42};
	for (int number = 0; number < 3; number++) {
		if (reported_step({7, 100}, weight))
			return 70;
		ids.push_back(reported_step(ids, weight).value());
	}
	const auto unit = torch::jit::compile("def product(a, b):\n    return torch.mm(a, b)\n");
	script(*unit, 3, 3);
	script(*unit, 3, 4);
	script(*unit, 4, 4);
	wait_for("end");
	std::remove(path.c_str());
	return 0;
}
