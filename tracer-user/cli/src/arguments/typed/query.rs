//! Arguments of what asks a collector.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{DocumentFormat, ListFormat};

/// Ask a collector for events: by node, time, kind and model, stored and live
///
/// Telemetry comes unless --key is given; then content comes, sealed, and is opened here with the
/// recipient's key. What an agent declares as lost, and what cannot be read, is told in its place.
///
/// Exit status: 0 there is at least one event, 1 there is none, 2 error.
#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) collector: Collector,
    /// Only this node, by the name it enrolled with or by its agent; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Vec<String>,
    /// Only this kind of event, such as inference.request; repeatable
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Vec<String>,
    /// Only about this model, by the digest of its file's header; repeatable
    #[arg(long, value_name = "sha256:…", conflicts_with = "key")]
    pub(crate) model: Vec<String>,
    /// Nothing before this time, such as 2026-11-23T03:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Nothing older than this, for example 30m or 1h30m
    #[arg(long, value_name = "TIME", conflicts_with = "from")]
    pub(crate) since: Option<String>,
    /// Nothing after this time
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// At most so many events
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Go on with what arrives, until Ctrl-C
    #[arg(short, long, conflicts_with = "limit")]
    pub(crate) follow: bool,
    /// Read content, with this recipient's key (see tracer key new)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
    /// How to print; ndjson is every event as it was recorded
    #[arg(short, long, value_enum, default_value_t = EventFormat::Pretty)]
    pub(crate) output: EventFormat,
}

/// Formats of events that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EventFormat {
    /// For people
    Pretty,
    /// One JSON object a line
    Ndjson,
}

/// Show the nodes that a collector knows, and how they are
///
/// Exit status: 0 there is at least one, 1 there is none, 2 error.
#[derive(Debug, Args)]
pub(crate) struct Nodes {
    #[command(flatten)]
    pub(crate) collector: Collector,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = ListFormat::Pretty)]
    pub(crate) output: ListFormat,
}

/// Which collector, and who asks.
#[derive(Debug, Args)]
pub(crate) struct Collector {
    /// A reader's token, made by `tracer-collector token new --reader NAME`; it says where the
    /// collector is and how to know it. Without this: the token in TRACER_READER_TOKEN, else the
    /// file ~/.config/tracer/reader.token
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token: Option<PathBuf>,
    /// A reader's certificate with its key, in place of a token: the file that `tracer-collector token new
    /// --reader NAME --certificate FILE` made
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "token")]
    pub(crate) certificate: Option<PathBuf>,
    /// The collector's address, if it is not the one in the token or beside the certificate
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) collector: Option<String>,
}

/// Keys of those who may read content
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key; its public half, which the configuration of agents takes, is printed
    ///
    /// Whoever has the file can read what is sealed for it. There is no other copy.
    New {
        /// The file, which must not exist yet
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
        output: DocumentFormat,
    },
    /// Print the public half of a key
    Show {
        /// The file
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = DocumentFormat::Pretty)]
        output: DocumentFormat,
    },
}
