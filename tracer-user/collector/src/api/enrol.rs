//! Certificates for agents.

use std::sync::Arc;

use hyper::{Response, StatusCode};
use tracer_wire::{
    AgentId,
    enrolment::{Enrolled, EnrolmentRequest, Proof, Purpose, RenewalRequest, is_node_name},
};

use super::{Outgoing, Refusal, blocking, json};
use crate::{
    ingest::now,
    pki::{Issued, PkiError, SigningRequest},
    server::Collector,
};

pub(super) async fn enrol(
    collector: &Arc<Collector>,
    request: EnrolmentRequest,
) -> Result<Response<Outgoing>, Refusal> {
    let EnrolmentRequest {
        token,
        agent,
        csr,
        proof,
        name,
    } = request;
    if !is_node_name(&name) {
        let error = "name is not 1 to 64 letters, digits, dots, hyphens and underscores";
        return Err(Refusal::bad(error));
    }
    // Who renews has shown a certificate, and does not share this with strangers.
    if !collector.enrolments.try_take() {
        let error = "too many agents ask for certificates; try again";
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, error));
    }
    // Asked before anything is signed, and once more when the certificate is handed out.
    let (shown, asked) = (token.clone(), name.clone());
    blocking(collector, move |collector| {
        collector.registry.admits(&shown, agent, &asked, now())
    })
    .await??;
    let issued = issue(collector, agent, &csr, proof, Purpose::Enrolment)?;
    let until = issued.until;
    let noted = name.clone();
    blocking(collector, move |collector| {
        let now = now();
        collector
            .registry
            .enrol(&token, agent, &noted, until, now)?;
        // It may come at once.
        collector.admission.refresh(&collector.registry)?;
        Ok::<_, crate::store::Denied>(())
    })
    .await??;
    log::info!("agent {agent} ({name}) has enrolled");
    Ok(answer(collector, issued))
}

pub(super) async fn renew(
    collector: &Arc<Collector>,
    agent: AgentId,
    request: RenewalRequest,
) -> Result<Response<Outgoing>, Refusal> {
    let RenewalRequest { csr, proof } = request;
    let issued = issue(collector, agent, &csr, proof, Purpose::Renewal)?;
    let until = issued.until;
    blocking(collector, move |collector| {
        collector.registry.renew(agent, until)
    })
    .await??;
    Ok(answer(collector, issued))
}

/// A certificate, if both keys are of one hand.
fn issue(
    collector: &Collector,
    agent: AgentId,
    csr: &str,
    proof: Proof,
    purpose: Purpose,
) -> Result<Issued, Refusal> {
    let request = SigningRequest::parse(csr).map_err(|error| Refusal::bad(error.to_string()))?;
    if !proof.is_of(agent, purpose, request.der()) {
        let error = "the proof is not the agent's signature over this request";
        return Err(Refusal::new(StatusCode::FORBIDDEN, error));
    }
    let lasts = collector.configuration().agent_lasts;
    let issued = collector
        .authority
        .issue_agent(agent, &request, lasts, now());
    issued.map_err(|error| match error {
        PkiError::Request(_) => Refusal::bad(error.to_string()),
        PkiError::Certificate(_)
        | PkiError::File { .. }
        | PkiError::NotPem { .. }
        | PkiError::OtherKey(_)
        | PkiError::Rotating(_)
        | PkiError::TooEarly(_) => {
            log::error!("no certificate for agent {agent}: {error}");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "see the collector's log")
        }
    })
}

fn answer(collector: &Collector, issued: Issued) -> Response<Outgoing> {
    collector.metrics.certificates.add(1);
    json(&Enrolled {
        certificate: issued.pem,
        roots: collector.authority.pem().to_owned(),
        telemetry_recipient: collector.telemetry.present().recipient().clone(),
        agents: collector.configuration().agents.clone(),
        trust_domain: collector.authority.trust_domain().clone(),
    })
}
