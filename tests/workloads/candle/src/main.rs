//! usage: candle-workload MODEL [silent]
//!
//! Writes a tiny model to the path MODEL, loads it as candle's programs do, runs it for some steps and
//! says what it called: the names of tensors that it loaded, how often it embedded, and how often each
//! linear layer ran. With `silent` it calls nothing of it, and uses 14 seconds of CPU time.

use std::{collections::HashMap, env, io, os::unix::fs::MetadataExt, thread, time::Duration};

use candle_core::{DType, Device, Result, Tensor, safetensors::MmapedSafetensors};
use candle_nn::{Embedding, Linear, Module};

const STEPS: u32 = 50;
const VOCABULARY: usize = 100;
const WIDTH: usize = 16;
const TENSORS: [&str; 2] = ["model.embed_tokens.weight", "lm_head.weight"];

fn main() -> Result<()> {
    let path = env::args().nth(1).expect("usage: candle-workload MODEL");
    let device = Device::Cpu;
    let weight = Tensor::arange(0_f32, (VOCABULARY * WIDTH) as f32, &device)?
        .sin()?
        .reshape((VOCABULARY, WIDTH))?;
    let tensors: HashMap<_, _> = TENSORS
        .map(|name| (name.to_owned(), weight.clone()))
        .into();
    candle_core::safetensors::save(&tensors, &path)?;
    let uid = std::fs::metadata("/proc/self").expect("/proc is mounted").uid();
    report("start", &format!(",\"pid\":{},\"uid\":{uid}", std::process::id()));
    if env::args().nth(2).is_some_and(|what| what == "silent") {
        wait_for("work");
        be_busy(14);
        wait_for("end");
        std::fs::remove_file(&path).expect("the file is there");
        return Ok(());
    }
    wait_for("call");

    // SAFETY: nobody changes the file while it is mapped: it was made above, under a name of its own.
    let file = unsafe { MmapedSafetensors::new(&path)? };
    let mut loaded = Vec::new();
    for name in TENSORS {
        loaded.push(file.load(name, &device)?);
        report("call", &format!(",\"function\":\"load\",\"values\":{{\"tensor\":\"{name}\"}}"));
    }
    let embedding = Embedding::new(loaded[0].clone(), WIDTH);
    let head = Linear::new(loaded[1].clone(), None);
    let mut token = 1_u32;
    for _ in 0..STEPS {
        let ids = Tensor::from_slice(&[token], 1, &device)?;
        let hidden = embedding.forward(&ids)?;
        report("call", ",\"function\":\"embedding\",\"values\":{}");
        let logits = head.forward(&hidden)?.to_dtype(DType::F32)?;
        token = logits.argmax(1)?.to_vec1::<u32>()?[0];
        // The tracer holds probes to a budget of calls a second.
        thread::sleep(Duration::from_millis(20));
    }
    report(
        "counts",
        &format!(
            ",\"functions\":{{\"linear\":{{\"entered\":{STEPS},\"returned\":{STEPS},\"unwound\":0}}}},\
             \"checksum\":{token}"
        ),
    );
    wait_for("end");
    std::fs::remove_file(&path).expect("the file is there");
    Ok(())
}

/// Busy with something else, with a word now and then.
fn be_busy(seconds: u32) {
    let begin = cpu_time();
    for second in 1..=seconds {
        let mut sum = 0_u64;
        while cpu_time() - begin < second.into() {
            for _ in 0..1_000_000 {
                sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
            }
        }
        report("measured", ",\"calls\":0,\"warm_up\":0,\"cpu_ns\":0,\"checksum\":0");
    }
}

/// What the only thread has used, in seconds.
fn cpu_time() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("the kernel keeps it");
    let used = text.split(' ').next().and_then(|used| used.parse().ok());
    used.map(|nanoseconds: f64| nanoseconds / 1e9).expect("it begins with a number")
}

fn report(event: &str, rest: &str) {
    let uptime = std::fs::read_to_string("/proc/uptime").expect("/proc is mounted");
    let seconds: f64 = uptime
        .split(' ')
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .expect("it begins with a number");
    println!(
        "{{\"ev\":\"{event}\",\"tid\":{},\"boot_ns\":{}{rest}}}",
        std::process::id(),
        (seconds * 1e9) as u64
    );
}

/// Waits for a line, or ends when nobody is there to send one.
fn wait_for(what: &str) {
    report("waiting", &format!(",\"for\":\"{what}\""));
    let mut line = String::new();
    if io::stdin().read_line(&mut line).is_ok_and(|length| length == 0) {
        std::process::exit(72);
    }
}
