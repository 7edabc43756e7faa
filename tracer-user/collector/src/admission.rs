//! Who is let in, as it stands now. Handshakes ask it, and agents' open connections follow it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tracer_wire::{AgentId, enrolment::TrustDomain};

use crate::{
    pki::{agent_of, reader_of},
    store::{Fingerprint, Registry, StoreError, TokenPurpose},
};

/// Agents by what was decided about them.
#[derive(Debug)]
pub(crate) struct Admission {
    trust_domain: TrustDomain,
    agents: watch::Sender<Arc<Agents>>,
    /// Certificates of readers that are no longer good.
    revoked: RwLock<BTreeSet<Fingerprint>>,
}

/// Whose certificate was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// An agent.
    Agent(AgentId),
    /// Somebody who queries. Whether this one is known here is decided anew for each request, since it may
    /// have been made a moment ago.
    Reader(Fingerprint),
}

/// The agents that are known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Agents {
    /// Those that are let in, with the names of their nodes.
    admitted: BTreeMap<AgentId, String>,
    revoked: BTreeSet<AgentId>,
}

/// What was decided about an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is let in.
    Admitted,
    /// No longer.
    Revoked,
    /// It never enrolled here.
    Unknown,
}

impl Agents {
    /// What was decided about an agent.
    #[must_use]
    pub(crate) fn verdict(&self, agent: AgentId) -> Verdict {
        if self.revoked.contains(&agent) {
            Verdict::Revoked
        } else if self.admitted.contains_key(&agent) {
            Verdict::Admitted
        } else {
            Verdict::Unknown
        }
    }
}

impl Admission {
    /// Nobody is let in until [`Self::refresh`].
    #[must_use]
    pub(crate) fn new(trust_domain: TrustDomain) -> Self {
        let (agents, _) = watch::channel(Arc::default());
        Self {
            trust_domain,
            agents,
            revoked: RwLock::default(),
        }
    }

    /// Reads anew what was decided.
    ///
    /// # Errors
    /// If the store does not work; then all stays as it was.
    pub(crate) fn refresh(&self, registry: &Registry) -> Result<(), StoreError> {
        let mut now = Agents::default();
        for agent in registry.agents()? {
            if agent.revoked.is_some() {
                now.revoked.insert(agent.agent);
            } else {
                now.admitted.insert(agent.agent, agent.name);
            }
        }
        let certificates = registry.tokens()?.into_iter().filter(|token| {
            token.purpose == TokenPurpose::ReadCertified && token.revoked.is_some()
        });
        let revoked = certificates
            .map(|token| Fingerprint(token.digest))
            .collect();
        *self.revoked.write().unwrap_or_else(PoisonError::into_inner) = revoked;
        self.agents.send_if_modified(|known| {
            let is_other = **known != now;
            *known = Arc::new(now);
            is_other
        });
        Ok(())
    }

    /// What was decided about an agent.
    #[must_use]
    pub(crate) fn verdict(&self, agent: AgentId) -> Verdict {
        self.agents.borrow().verdict(agent)
    }

    /// What people call an agent's node.
    #[must_use]
    pub(crate) fn name(&self, agent: AgentId) -> Option<String> {
        self.agents.borrow().admitted.get(&agent).cloned()
    }

    /// Whose certificate this is, and what was decided about it; none if it is nobody's.
    #[must_use]
    pub(crate) fn of_certificate(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Option<(Holder, Verdict)> {
        if let Some(agent) = agent_of(certificate, &self.trust_domain) {
            return Some((Holder::Agent(agent), self.verdict(agent)));
        }
        let fingerprint = reader_of(certificate, &self.trust_domain)?;
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        let verdict = match revoked.contains(&fingerprint) {
            true => Verdict::Revoked,
            false => Verdict::Admitted,
        };
        Some((Holder::Reader(fingerprint), verdict))
    }

    /// Follows what is decided.
    #[must_use]
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<Agents>> {
        self.agents.subscribe()
    }
}
