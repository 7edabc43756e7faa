use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tracer_redact::{Content, Engine, Field, Raw};

use crate::{
    RedactedEvent,
    agent::{
        Attached, NotAttachable, Restored, RuntimeFound, RuntimeGone, SessionStarted, Shed, Silent,
        Summary,
    },
    call::Called,
    file::{FileAccess, FilesWatched},
    identity::{Label, Name},
    inference::{Request, RuntimeError, Step, Text, Tokens},
    integrity::FileVerdict,
    loss::Loss,
    model::{ContextFreed, ContextSnapshot, ModelFreed, ModelSnapshot},
    operation::OperationHistogram,
    place::{Grant, Place},
    process::{ProcessExited, ProcessSeen},
    time::Moment,
};

/// Name and version of the event's form; it changes whenever a reader could misread a line.
pub const SCHEMA: &str = "tracer.event/1";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
pub struct Event<C> {
    /// Always [`SCHEMA`].
    pub schema: Schema,
    /// When.
    pub time: Moment,
    /// Where.
    #[serde(rename = "where")]
    pub place: Place,
    /// The probe that saw it, as its profile names it; none for what was not seen by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Name>,
    /// Under which grant it was captured.
    pub grant: Arc<Grant>,
    /// Whether it arrived after events that happened later had been written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// What.
    #[serde(flatten)]
    pub body: Body<C>,
}

/// What happened. `kind` is its family and name, `body` the details.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(tag = "kind", content = "body")]
pub enum Body<C> {
    /// A process is traced from now on.
    #[serde(rename = "process.seen")]
    ProcessSeen(Box<ProcessSeen<C>>),
    /// A traced process ended.
    #[serde(rename = "process.exited")]
    ProcessExited(ProcessExited),
    /// A model was loaded, or found loaded.
    #[serde(rename = "model.loaded")]
    ModelLoaded(Box<ModelSnapshot<C>>),
    /// A model could not be loaded.
    #[serde(rename = "model.load_failed")]
    ModelLoadFailed(Box<ModelSnapshot<C>>),
    /// A model was released.
    #[serde(rename = "model.freed")]
    ModelFreed(ModelFreed),
    /// An inference context was made.
    #[serde(rename = "context.created")]
    ContextCreated(Box<ContextSnapshot>),
    /// An inference context was released.
    #[serde(rename = "context.freed")]
    ContextFreed(ContextFreed),
    /// A batch was computed.
    #[serde(rename = "inference.step")]
    Step(Box<Step>),
    /// A request ended.
    #[serde(rename = "inference.request")]
    Request(Box<Request>),
    /// The runtime gave up.
    #[serde(rename = "inference.error")]
    RuntimeError(Box<RuntimeError<C>>),
    /// Tokens went in or came out.
    #[serde(rename = "content.tokens")]
    Tokens(Box<Tokens<C>>),
    /// A function was called that only its profile knows the meaning of.
    #[serde(rename = "op.call")]
    Called(Box<Called<C>>),
    /// The text of tokens that went in or came out.
    #[serde(rename = "content.text")]
    Text(Box<Text<C>>),
    /// Latencies of a hot operation.
    #[serde(rename = "op.histogram")]
    OperationHistogram(OperationHistogram),
    /// A model's file was compared with what somebody vouched for.
    #[serde(rename = "integrity.verdict")]
    FileVerdict(Box<FileVerdict<C>>),
    /// Somebody did something to a watched file.
    #[serde(rename = "file.access")]
    FileAccess(Box<FileAccess<C>>),
    /// Files are watched from now on.
    #[serde(rename = "file.watched")]
    FilesWatched(Box<FilesWatched<C>>),
    /// Something was lost.
    #[serde(rename = "loss")]
    Loss(Loss),
    /// Tracing began.
    #[serde(rename = "session.started")]
    SessionStarted(Box<SessionStarted>),
    /// A process that runs a model was found.
    #[serde(rename = "agent.runtime_found")]
    RuntimeFound(Box<RuntimeFound<C>>),
    /// It is gone.
    #[serde(rename = "agent.runtime_gone")]
    RuntimeGone(RuntimeGone),
    /// A library got its probes.
    #[serde(rename = "agent.attached")]
    Attached(Box<Attached<C>>),
    /// A probe or library did not.
    #[serde(rename = "agent.not_attachable")]
    NotAttachable(Box<NotAttachable<C>>),
    /// Probes were switched off for their cost.
    #[serde(rename = "agent.shed")]
    Shed(Box<Shed>),
    /// They are back.
    #[serde(rename = "agent.restored")]
    Restored(Box<Restored>),
    /// Probes that should be hit are not.
    #[serde(rename = "agent.silent")]
    Silent(Silent),
    /// Tracing ended.
    #[serde(rename = "agent.summary")]
    Summary(Box<Summary>),
}

impl Event<Raw<Content>> {
    /// Decides what of the event leaves.
    #[must_use]
    pub fn redact(self, engine: &Engine) -> RedactedEvent {
        self.map(&mut |field, content| engine.redact(field, content))
    }
}

impl<C> Event<C> {
    /// The event with each content changed, the field that it stands in given.
    #[must_use]
    pub fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> Event<D> {
        let Self {
            schema,
            time,
            place,
            probe,
            grant,
            late,
            body,
        } = self;
        Event {
            schema,
            time,
            place,
            probe,
            grant,
            late,
            body: body.map(change),
        }
    }

    /// The event's kind, such as `inference.request`.
    #[must_use]
    pub const fn kind(&self) -> Label {
        self.body.kind()
    }
}

impl<C> Body<C> {
    /// The kind, such as `inference.request`.
    #[must_use]
    pub const fn kind(&self) -> Label {
        Label::new(match self {
            Self::ProcessSeen(_) => "process.seen",
            Self::ProcessExited(_) => "process.exited",
            Self::ModelLoaded(_) => "model.loaded",
            Self::ModelLoadFailed(_) => "model.load_failed",
            Self::ModelFreed(_) => "model.freed",
            Self::ContextCreated(_) => "context.created",
            Self::ContextFreed(_) => "context.freed",
            Self::Step(_) => "inference.step",
            Self::Request(_) => "inference.request",
            Self::RuntimeError(_) => "inference.error",
            Self::Tokens(_) => "content.tokens",
            Self::Called(_) => "op.call",
            Self::Text(_) => "content.text",
            Self::OperationHistogram(_) => "op.histogram",
            Self::FileVerdict(_) => "integrity.verdict",
            Self::FileAccess(_) => "file.access",
            Self::FilesWatched(_) => "file.watched",
            Self::Loss(_) => "loss",
            Self::SessionStarted(_) => "session.started",
            Self::RuntimeFound(_) => "agent.runtime_found",
            Self::RuntimeGone(_) => "agent.runtime_gone",
            Self::Attached(_) => "agent.attached",
            Self::NotAttachable(_) => "agent.not_attachable",
            Self::Shed(_) => "agent.shed",
            Self::Restored(_) => "agent.restored",
            Self::Silent(_) => "agent.silent",
            Self::Summary(_) => "agent.summary",
        })
    }

    fn map<D>(self, change: &mut impl FnMut(Field<'_>, C) -> D) -> Body<D> {
        match self {
            Self::ProcessSeen(body) => Body::ProcessSeen(Box::new(body.map(change))),
            Self::ProcessExited(body) => Body::ProcessExited(body),
            Self::ModelLoaded(body) => Body::ModelLoaded(Box::new(body.map(change))),
            Self::ModelLoadFailed(body) => Body::ModelLoadFailed(Box::new(body.map(change))),
            Self::ModelFreed(body) => Body::ModelFreed(body),
            Self::ContextCreated(body) => Body::ContextCreated(body),
            Self::ContextFreed(body) => Body::ContextFreed(body),
            Self::Step(body) => Body::Step(body),
            Self::Request(body) => Body::Request(body),
            Self::RuntimeError(body) => Body::RuntimeError(Box::new(body.map(change))),
            Self::Tokens(body) => Body::Tokens(Box::new(body.map(change))),
            Self::Called(body) => Body::Called(Box::new(body.map(change))),
            Self::Text(body) => Body::Text(Box::new(body.map(change))),
            Self::OperationHistogram(body) => Body::OperationHistogram(body),
            Self::FileVerdict(body) => Body::FileVerdict(Box::new(body.map(change))),
            Self::FileAccess(body) => Body::FileAccess(Box::new(body.map(change))),
            Self::FilesWatched(body) => Body::FilesWatched(Box::new(body.map(change))),
            Self::Loss(body) => Body::Loss(body),
            Self::SessionStarted(body) => Body::SessionStarted(body),
            Self::RuntimeFound(body) => Body::RuntimeFound(Box::new(body.map(change))),
            Self::RuntimeGone(body) => Body::RuntimeGone(body),
            Self::Attached(body) => Body::Attached(Box::new(body.map(change))),
            Self::NotAttachable(body) => Body::NotAttachable(Box::new(body.map(change))),
            Self::Shed(body) => Body::Shed(body),
            Self::Restored(body) => Body::Restored(body),
            Self::Silent(body) => Body::Silent(body),
            Self::Summary(body) => Body::Summary(body),
        }
    }
}

/// Stands for [`SCHEMA`]: reading a line of another form fails here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schema;

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SCHEMA)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let schema = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        if schema == SCHEMA {
            return Ok(Self);
        }
        Err(de::Error::custom(format_args!(
            "the event has schema `{schema}`; this tracer reads `{SCHEMA}`"
        )))
    }
}

#[cfg(any(test, feature = "schema"))]
impl schemars::JsonSchema for Schema {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Schema".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": SCHEMA })
    }
}
