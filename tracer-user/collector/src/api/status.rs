//! How the collector and its agents are.

use std::sync::Arc;

use hyper::{Response, StatusCode};
use serde::Serialize;
use tracer_event::WallNanos;
use tracer_wire::{AgentId, SessionId};

use super::{Outgoing, Refusal, blocking, json, text};
use crate::{
    server::Collector,
    store::{Agent, Session, StoreError},
};

pub(super) fn ready(collector: &Collector) -> Result<Response<Outgoing>, Refusal> {
    if collector.committer.works() {
        return Ok(text("ready\n".to_owned()));
    }
    let error = "the last write failed; see the collector's log";
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error))
}

pub(super) async fn metrics(collector: &Arc<Collector>) -> Result<Response<Outgoing>, Refusal> {
    let body = blocking(collector, |collector| {
        let size = collector.store.size()?;
        let newest = collector.store.newest()?;
        let works = collector.committer.works();
        Ok::<_, StoreError>(collector.metrics.text(size, works, newest.0))
    })
    .await??;
    Ok(super::with_type(
        body,
        "text/plain; version=0.0.4; charset=utf-8",
    ))
}

/// A node as it is told.
#[derive(Serialize)]
struct Node {
    name: String,
    agent: AgentId,
    is_connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_stored: Option<WallNanos>,
    enrolled: WallNanos,
    certified_until: WallNanos,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<WallNanos>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<WallNanos>,
    sessions: u64,
    records: u64,
    events: u64,
    events_lost: u64,
    gaps: u64,
    sessions_cut_off: u64,
}

pub(super) async fn nodes(collector: &Arc<Collector>) -> Result<Response<Outgoing>, Refusal> {
    let nodes = blocking(collector, |collector| {
        let connected = collector.metrics.connected_agents();
        let sessions = collector.store.sessions()?;
        let agents = collector.registry.agents()?;
        let nodes = agents.into_iter().map(|agent| {
            let is_connected = connected.contains(&agent.agent);
            node(agent, is_connected, &sessions)
        });
        Ok::<_, StoreError>(nodes.collect::<Vec<_>>())
    })
    .await??;
    Ok(json(&nodes))
}

fn node(agent: Agent, is_connected: bool, sessions: &[Session]) -> Node {
    let Agent {
        agent,
        name,
        enrolled,
        certified_until,
        revoked,
        seen,
    } = agent;
    let ours = || sessions.iter().filter(|session| session.agent == agent);
    let sum = |of: fn(&Session) -> u64| ours().map(of).sum();
    Node {
        name,
        agent,
        is_connected,
        last_stored: ours().map(|session| session.stored).max(),
        enrolled,
        certified_until,
        revoked,
        last_seen: seen,
        sessions: sum(|_| 1),
        records: sum(|session| session.records),
        events: sum(|session| session.events),
        events_lost: sum(|session| session.lost),
        gaps: sum(|session| session.gaps),
        sessions_cut_off: sum(|session| session.is_cut_off.into()),
    }
}

/// A session as it is told.
#[derive(Serialize)]
struct Told {
    agent: AgentId,
    session: SessionId,
    stream: String,
    began: WallNanos,
    last_stored: WallNanos,
    next: u64,
    is_closed: bool,
    is_cut_off: bool,
    is_shredded: bool,
    records: u64,
    events: u64,
    events_lost: u64,
    gaps: u64,
}

pub(super) async fn sessions(collector: &Arc<Collector>) -> Result<Response<Outgoing>, Refusal> {
    let sessions = blocking(collector, |collector| collector.store.sessions()).await??;
    let told = sessions.into_iter().map(|session| Told {
        agent: session.agent,
        session: session.session,
        stream: session.stream.to_string(),
        began: session.began,
        last_stored: session.stored,
        next: session.position.next.0,
        is_closed: session.position.closed,
        is_cut_off: session.is_cut_off,
        is_shredded: session.is_shredded,
        records: session.records,
        events: session.events,
        events_lost: session.lost,
        gaps: session.gaps,
    });
    Ok(json(&told.collect::<Vec<_>>()))
}
