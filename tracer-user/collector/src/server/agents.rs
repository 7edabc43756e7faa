//! The agents' port.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::server::TlsStream;
use tracer_event::WallNanos;
use tracer_wire::{AgentId, Body, ChainError, Sequence, SessionId};

use super::{Bucket, Collector, ROOM_UNIT};
use crate::{
    admission::{Holder, Verdict},
    ingest::{Answer, Conversation, ConversationError, Job, Request, now},
    pki::good_until,
    store::Outcome,
};

/// How long an agent may take to read an answer.
const WRITE: Duration = Duration::from_secs(30);
/// How long an agent may say nothing. One that has nothing to say comes back when it has.
const SILENCE: Duration = Duration::from_mins(15);
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the agent went away")]
    Gone,
    #[error("the connection was cut")]
    Cut(#[from] io::Error),
    #[error("the agent takes its answers too slowly")]
    Slow,
    #[error("the agent said nothing for {} minutes", SILENCE.as_secs() / 60)]
    Silent,
    #[error("the agent was revoked")]
    Revoked,
    #[error("the agent's certificate has expired")]
    Expired,
    #[error(transparent)]
    Nonsense(#[from] ConversationError),
    #[error("the store does not work")]
    Store,
    #[error("the collector ends")]
    Ending,
}

/// Serves a connection whose client has a certificate of the authority.
pub(super) async fn serve(collector: Arc<Collector>, tls: TlsStream<TcpStream>, from: SocketAddr) {
    let connection = tls.get_ref().1;
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let admitted = certificate.and_then(|certificate| {
        match collector.admission.of_certificate(certificate)? {
            (Holder::Agent(agent), Verdict::Admitted) => Some((agent, good_until(certificate))),
            (Holder::Agent(_), Verdict::Revoked | Verdict::Unknown) | (Holder::Reader(_), _) => {
                None
            }
        }
    });
    let has_protocol = connection.alpn_protocol() == Some(tracer_wire::enrolment::ALPN);
    let Some((agent, until)) = admitted.filter(|_| has_protocol) else {
        collector.metrics.failed_handshakes.add(1);
        log::info!("{from}: no agent that is known here, or not of this protocol");
        return;
    };
    let name = collector.admission.name(agent).unwrap_or_default();
    log::info!("{from}: agent {agent} ({name}) is connected");
    collector.metrics.connected(agent, &name);
    let ended = converse(&collector, tls, agent, until).await;
    collector.metrics.disconnected(agent);
    match ended {
        Ended::Gone | Ended::Ending | Ended::Silent => log::info!("{from}: {ended}"),
        Ended::Cut(_)
        | Ended::Slow
        | Ended::Revoked
        | Ended::Expired
        | Ended::Nonsense(_)
        | Ended::Store => log::warn!("{from}: agent {agent} ({name}): {ended}"),
    }
}

/// What is done for one connection.
struct Talk<'a> {
    collector: &'a Collector,
    agent: AgentId,
    conversation: Conversation,
    /// Given to the committer with each request.
    answers: mpsc::UnboundedSender<Answer>,
    /// Requests that were handed over and not answered.
    waiting: usize,
}

async fn converse(
    collector: &Collector,
    mut tls: TlsStream<TcpStream>,
    agent: AgentId,
    until: WallNanos,
) -> Ended {
    let limits = collector.configuration().limits.clone();
    let (answers, mut answered) = mpsc::unbounded_channel();
    let mut talk = Talk {
        collector,
        agent,
        conversation: Conversation::new(agent, limits.records_in_flight),
        answers,
        waiting: 0,
    };
    let bucket = Bucket::new(limits.records_per_second);
    let mut admission = collector.admission.follow();
    let mut ending = collector.ending.clone();
    let lasts = Duration::from_nanos(until.0.saturating_sub(now().0));
    let expires = Instant::now() + lasts;
    let mut silent_since = Instant::now();
    // Until then nothing is read: the agent has sent more than its rate.
    let mut reads_at = Instant::now();
    let mut chunk = vec![0; CHUNK];
    loop {
        let is_ending = *ending.borrow();
        if is_ending && talk.waiting == 0 {
            let _ = timeout(WRITE, tls.shutdown()).await;
            return Ended::Ending;
        }
        let now = Instant::now();
        let outgoing = tokio::select! {
            // What was decided comes first, then what is done, then more work.
            biased;
            changed = admission.changed() => {
                let verdict = admission.borrow_and_update().verdict(agent);
                if changed.is_err() || verdict != Verdict::Admitted {
                    return Ended::Revoked;
                }
                continue;
            }
            () = sleep_until(expires) => return Ended::Expired,
            _ = ending.changed(), if !is_ending => continue,
            Some(answer) = answered.recv() => {
                match talk.answer(answer, &mut answered) {
                    Ok(outgoing) => outgoing,
                    Err(ended) => return ended,
                }
            }
            () = sleep_until(reads_at), if reads_at > now => continue,
            () = sleep_until(silent_since + SILENCE), if talk.waiting == 0 => {
                return Ended::Silent;
            }
            read = tls.read(&mut chunk), if reads_at <= now && !is_ending => {
                let bytes = match read {
                    Ok(0) => return Ended::Gone,
                    Ok(count) => chunk.get(..count).unwrap_or_default(),
                    Err(error) => return Ended::Cut(error),
                };
                silent_since = now;
                match talk.take(bytes).await {
                    Ok((outgoing, records)) => {
                        reads_at = Instant::now() + bucket.take(records);
                        outgoing
                    }
                    Err(ended) => return ended,
                }
            }
        };
        if outgoing.is_empty() {
            continue;
        }
        match timeout(WRITE, send(&mut tls, &outgoing)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Ended::Cut(error),
            Err(_) => return Ended::Slow,
        }
    }
}

async fn send(tls: &mut TlsStream<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    tls.write_all(bytes).await?;
    tls.flush().await
}

impl Talk<'_> {
    /// Takes bytes. Gives what can be answered at once, and how many records there were.
    async fn take(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, u32), Ended> {
        let mut requests = Vec::new();
        let outgoing = self.conversation.receive(bytes, &mut requests)?;
        let mut records = 0;
        for request in requests {
            let mut room = None;
            if let Request::Append(record) = &request {
                records += 1;
                let units = record.sealed().len() / ROOM_UNIT + 1;
                let units = u32::try_from(units).unwrap_or(u32::MAX);
                let semaphore = Arc::clone(&self.collector.room);
                // While there is no room nothing more is read, and the agent waits.
                room = semaphore.acquire_many_owned(units).await.ok();
                self.collector.metrics.received(self.agent, record);
            }
            let job = Job {
                agent: self.agent,
                request,
                room,
                answers: self.answers.clone(),
            };
            if !self.collector.committer.submit(job).await {
                return Err(Ended::Store);
            }
            self.waiting += 1;
        }
        Ok((outgoing, records))
    }

    /// Answers this, and what else is there already.
    fn answer(
        &mut self,
        first: Answer,
        answered: &mut mpsc::UnboundedReceiver<Answer>,
    ) -> Result<Vec<u8>, Ended> {
        let mut outgoing = Vec::new();
        let mut done: Vec<(SessionId, Sequence, Outcome)> = Vec::new();
        let mut next = Some(first);
        while let Some(answer) = next {
            self.waiting -= 1;
            match answer {
                Answer::Appended(session, sequence, outcome) => {
                    self.note(session, sequence, outcome);
                    done.push((session, sequence, outcome));
                }
                Answer::Stands(session, position) => {
                    // In the order in which they were asked.
                    if !done.is_empty() {
                        outgoing.extend(self.conversation.appended(&done));
                        done.clear();
                    }
                    outgoing.extend(Conversation::stands(session, position));
                }
                Answer::Failed => return Err(Ended::Store),
            }
            next = answered.try_recv().ok();
        }
        if !done.is_empty() {
            outgoing.extend(self.conversation.appended(&done));
        }
        Ok(outgoing)
    }

    fn note(&self, session: SessionId, sequence: Sequence, outcome: Outcome) {
        let Self {
            agent, collector, ..
        } = self;
        collector.metrics.done(*agent, outcome);
        match outcome {
            Outcome::Stored | Outcome::Repeated => {}
            // It asked for another place than we stand at: it will ask again.
            Outcome::Refused(error @ ChainError::Missing { .. }) => {
                log::info!("agent {agent}, session {session}: {error}");
            }
            Outcome::Refused(error) => {
                log::error!("agent {agent}, session {session}, record {sequence}: {error}");
            }
        }
    }
}

/// Events that a record declares as lost.
pub(crate) fn lost(body: &Body) -> u64 {
    match body {
        Body::Gap(gap) => gap.events.unwrap_or(0),
        Body::Epoch(_) | Body::Batch(_) | Body::Closing => 0,
    }
}
