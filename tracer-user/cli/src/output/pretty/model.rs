//! A model as it was loaded, in a block.

use std::{collections::BTreeMap, time::Duration};

use tracer_event::{
    Known, Nanos,
    model::{
        Backend, CgroupLimits, ContextParameters, ContextSnapshot, FileRole, Header, Limit,
        LoadParameters, LoadResult, LoadSeen, ModelFile, ModelSnapshot, TemplateOrigin,
    },
};

use super::Shown;
use crate::text::{Palette, Tone, count, printable, short_duration, size};

/// Characters of digests and build-ids that are shown.
const SHORT_ID: usize = 12;

/// The block of a model that was loaded, or could not be.
pub(crate) fn block<C: Shown>(
    snapshot: &ModelSnapshot<C>,
    loaded: bool,
    whose: &str,
    palette: Palette,
) -> String {
    // A rehearsal serves nothing; its block would only repeat the real one's.
    if loaded && snapshot.dry_run == Known::Known(true) {
        return String::new();
    }
    let mut block = Block {
        palette,
        text: String::new(),
    };
    let version = snapshot.runtime_version.value();
    let version = version.map_or_else(String::new, |version| format!(" {}", version.shown()));
    let runtime = &snapshot.runtime;
    let title = format!("{runtime}{version} {} in {whose}", header_title(snapshot));
    if loaded {
        block.title(Tone::Strong, &title);
    } else {
        block.title(Tone::Bad, &format!("load failed: {title}"));
    }
    for file in &snapshot.files {
        block.line(role(file.role), &file_line(file));
    }
    block.line("model", &header(&snapshot.header));
    block.line("load", &load(snapshot));
    block.line("asked for", &load_parameters(&snapshot.load_parameters));
    for context in &snapshot.contexts {
        block.line("context", &context_line(context));
    }
    for (folder, libraries) in by_folder(&snapshot.backends) {
        block.line("libraries", &format!("{folder}: {}", libraries.join(", ")));
    }
    block.line("template", &template(snapshot));
    let environment: Vec<String> = snapshot
        .environment
        .iter()
        .map(|(name, value)| format!("{}={}", printable(name.as_str()), value.shown()))
        .collect();
    block.line("environment", &environment.join(" "));
    block.line("limits", &limits(&snapshot.limits));
    block.text
}

struct Block {
    palette: Palette,
    text: String,
}

impl Block {
    fn title(&mut self, tone: Tone, text: &str) {
        self.text.push('\n');
        self.text.push_str(&self.palette.paint(tone, text));
        self.text.push('\n');
    }

    /// Adds a line, if there is anything to say in it.
    fn line(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            let name = self.palette.paint(Tone::Faint, &format!("  {name:<11}"));
            self.text.push_str(&format!("{name} {text}\n"));
        }
    }
}

fn header_title<C: Shown>(snapshot: &ModelSnapshot<C>) -> String {
    let name = snapshot
        .header
        .name
        .value()
        .map(Shown::shown)
        .filter(|name| !name.is_empty());
    let name = name.map_or_else(|| "model".to_owned(), |name| format!("model \"{name}\""));
    format!("{name} #{}", snapshot.model)
}

fn role(role: FileRole) -> &'static str {
    match role {
        FileRole::Weights => "weights",
        FileRole::Adapter => "adapter",
        FileRole::Projector => "projector",
        FileRole::Other => "file",
    }
}

fn file_line<C: Shown>(file: &ModelFile<C>) -> String {
    let mut text = file.path.shown();
    if let Some(&bytes) = file.size.value() {
        text.push_str(&format!(" ({})", size(bytes)));
    }
    if !file.mapped {
        text.push_str(", not mapped");
    }
    if file.deleted {
        text.push_str(", replaced or removed since");
    }
    text
}

fn header<C: Shown>(header: &Header<C>) -> String {
    let mut parts = Vec::new();
    parts.extend(header.architecture.value().map(Shown::shown));
    parts.extend(header.quantisation.value().map(ToString::to_string));
    parts.extend(
        header
            .tensor_count
            .value()
            .map(|&tensors| format!("{} tensors", count(tensors))),
    );
    parts.extend(
        header
            .vocabulary_size
            .value()
            .map(|&size| format!("vocabulary {}", count(size))),
    );
    parts.extend(header.format.value().map(ToString::to_string));
    parts.extend(
        header
            .digest
            .value()
            .map(|digest| format!("header {}", short(&digest.to_string()))),
    );
    parts.join(", ")
}

fn load<C>(snapshot: &ModelSnapshot<C>) -> String {
    let took = snapshot
        .load_duration
        .value()
        .map(|&time| format!(" in {}", duration(time)));
    let took = took.unwrap_or_default();
    match (snapshot.load, snapshot.load_result.value()) {
        (LoadSeen::NotSeen, _) => "not seen: what follows is from the live process".to_owned(),
        (LoadSeen::Seen, Some(LoadResult::Loaded)) => format!("seen, loaded{took}"),
        (LoadSeen::Seen, Some(LoadResult::Failed)) => format!("seen, failed{took}"),
        (LoadSeen::Seen, Some(LoadResult::Unwound)) => format!("seen, left by an exception{took}"),
        (LoadSeen::Seen, Some(LoadResult::Unfinished)) => "seen, never ended".to_owned(),
        (LoadSeen::Seen, None) => format!("seen{took}"),
    }
}

fn load_parameters(parameters: &LoadParameters) -> String {
    let LoadParameters {
        gpu_layers,
        split_mode,
        main_gpu,
        load_mode,
        use_mmap,
        use_mlock,
        use_direct_io,
        vocabulary_only,
        check_tensors,
    } = parameters;
    pairs([
        (
            "GPU layers",
            gpu_layers
                .value()
                .map(|&layers| or_word(layers, layers < 0, "all")),
        ),
        ("split mode", text(split_mode)),
        ("main GPU", text(main_gpu)),
        ("load mode", text(load_mode)),
        ("mmap", yes(use_mmap)),
        ("mlock", yes(use_mlock)),
        ("direct I/O", yes(use_direct_io)),
        ("vocabulary only", yes(vocabulary_only)),
        ("check tensors", yes(check_tensors)),
    ])
}

fn context_line(context: &ContextSnapshot) -> String {
    let ContextParameters {
        context_length,
        batch_size,
        micro_batch_size,
        sequence_limit,
        threads,
        batch_threads,
        flash_attention,
        key_type,
        value_type,
        embeddings,
        offload_cache,
        rope_frequency_base,
    } = &context.parameters;
    let parameters = pairs([
        (
            "length",
            context_length
                .value()
                .map(|&length| or_word(length, length == 0, "the model's own")),
        ),
        ("batch", text(batch_size)),
        ("ubatch", text(micro_batch_size)),
        ("sequences", text(sequence_limit)),
        ("threads", text(threads)),
        ("batch threads", text(batch_threads)),
        (
            "flash attention",
            flash_attention
                .value()
                .map(|&wanted| or_word(wanted, wanted < 0, "automatic")),
        ),
        ("K type", text(key_type)),
        ("V type", text(value_type)),
        ("embeddings", yes(embeddings)),
        ("offload KV", yes(offload_cache)),
        (
            "rope base",
            rope_frequency_base
                .value()
                .map(|&base| or_word(base, base == 0.0, "the model's own")),
        ),
    ]);
    match context.created {
        LoadSeen::Seen => parameters,
        LoadSeen::NotSeen if parameters.is_empty() => {
            "not seen: its parameters are unknown".to_owned()
        }
        LoadSeen::NotSeen => format!("not seen; {parameters}"),
    }
}

/// Libraries with their build-ids, by folder.
fn by_folder<C: Shown>(backends: &[Backend<C>]) -> BTreeMap<String, Vec<String>> {
    let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for backend in backends {
        let path = backend.path.shown();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let mut text = name.to_owned();
        if let Some(build_id) = backend.build_id.value() {
            text.push_str(&format!(" ({})", short(&build_id.to_string())));
        }
        if backend.deleted {
            text.push_str(" replaced or removed since");
        }
        folders.entry(folder.to_owned()).or_default().push(text);
    }
    folders
}

fn template<C>(snapshot: &ModelSnapshot<C>) -> String {
    let origin = match snapshot.chat_template.origin.value() {
        None => return String::new(),
        Some(TemplateOrigin::None) => return "none".to_owned(),
        Some(TemplateOrigin::Header) => "the header's",
        Some(TemplateOrigin::Caller) => "the caller's",
    };
    match snapshot.chat_template.digest.value() {
        Some(digest) => format!("{origin}, {}", short(&digest.to_string())),
        None => origin.to_owned(),
    }
}

fn limits(limits: &CgroupLimits) -> String {
    let CgroupLimits {
        memory_max,
        memory_high,
        swap_max,
        cpu_micros_per_second,
        cpus,
        tasks_max,
    } = limits;
    let at = |limit: &Known<Limit>| match limit {
        Known::Known(Limit::At(at)) => Some(*at),
        Known::Known(Limit::None(_)) | Known::Unknown => None,
    };
    #[expect(clippy::cast_precision_loss, reason = "shown to two digits")]
    let cores = |micros: u64| format!("{:.2}", micros as f64 / 1e6);
    pairs([
        ("memory", at(memory_max).map(size)),
        ("memory high", at(memory_high).map(size)),
        ("swap", at(swap_max).map(size)),
        ("CPU time", at(cpu_micros_per_second).map(cores)),
        ("CPUs", text(cpus)),
        ("tasks", at(tasks_max).map(count)),
    ])
}

/// A number, or the word that stands for it.
fn or_word(number: impl ToString, is_special: bool, word: &str) -> String {
    if is_special {
        word.to_owned()
    } else {
        number.to_string()
    }
}

/// A switch that is on; one that is off says nothing.
fn yes(known: &Known<bool>) -> Option<String> {
    known.value().filter(|&&on| on).map(|_| "yes".to_owned())
}

fn text<T: ToString>(known: &Known<T>) -> Option<String> {
    known.value().map(ToString::to_string)
}

/// `name value, name value` of what is known.
fn pairs<const N: usize>(pairs: [(&str, Option<String>); N]) -> String {
    let known = pairs
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    known.collect::<Vec<_>>().join(", ")
}

fn short(id: &str) -> String {
    let (prefix, digits) = id
        .split_once(':')
        .map_or(("", id), |(_, digits)| ("sha256:", digits));
    format!(
        "{prefix}{}",
        digits.chars().take(SHORT_ID).collect::<String>()
    )
}

fn duration(time: Nanos) -> String {
    short_duration(Duration::from_nanos(time.0))
}
