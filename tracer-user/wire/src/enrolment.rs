//! How an agent comes to a certificate: what it is told beforehand, what it asks, what it gets.
//!
//! `docs/collector.md` describes the conversation.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracer_event::WallNanos;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::{
    identity::{AgentId, ParseIdentityError, hex},
    key::{KeyError, Recipient, SigningKey, is_signed_by, random},
    octets::{FormError, Reader, Writer},
};

/// The protocol that an agent and a collector name in their TLS handshake (ALPN).
pub const ALPN: &[u8] = b"tracer/1";
/// Where an agent asks for its first certificate: `POST`, an [`EnrolmentRequest`].
pub const ENROL_PATH: &str = "/v1/agents/enroll";
/// Where it asks for the next one, with the present one: `POST`, a [`RenewalRequest`].
pub const RENEW_PATH: &str = "/v1/agents/renew";

/// Names the agents and collectors that trust one authority: lower-case letters, digits, dots,
/// hyphens and underscores, at most 255, as SPIFFE has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Box<str>);

impl TrustDomain {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "a trust domain of at most 255 lower-case letters, digits, '.', '-' and '_'";
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        let is_name = (1..=255).contains(&text.len()) && text.bytes().all(allowed);
        is_name
            .then(|| Self(text.into()))
            .ok_or(ParseIdentityError { expected })
    }
}

/// An agent as its certificate names it: `spiffe://TRUST-DOMAIN/agent/AGENT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentUri {
    /// Whose agents these are.
    pub trust_domain: TrustDomain,
    /// Which one: the key that signs its records.
    pub agent: AgentId,
}

impl fmt::Display for AgentUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/agent/{}", self.trust_domain, self.agent)
    }
}

impl FromStr for AgentUri {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "an agent as spiffe://TRUST-DOMAIN/agent/ and 64 hex digits";
        let parts = text
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.split_once("/agent/"));
        let (trust_domain, agent) = parts.ok_or(ParseIdentityError { expected })?;
        Ok(Self {
            trust_domain: trust_domain.parse()?,
            agent: agent.parse()?,
        })
    }
}

/// What lets one agent enrol once, and lets it know the collector at first contact.
///
/// As text it is `tracer-enroll-1.` and URL-safe base64 without padding. It is a secret until it was
/// used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// SHA-256 over the DER form of the authority's certificate. The collector sends that certificate
    /// with its own; an agent trusts nothing else.
    pub authority: [u8; 32],
    /// After this the collector refuses it.
    pub expires: WallNanos,
    /// What the agent shows: the collector keeps no more than a hash of it.
    pub secret: TokenSecret,
    /// Where the collector is enrolled at: host and port of its HTTPS address.
    pub collector: Box<str>,
}

const TOKEN: &str = "tracer-enroll-1.";
/// Bytes of a collector's address, at most: a name of DNS, brackets and a port.
const MAX_ADDRESS: usize = 272;

impl fmt::Display for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOKEN}{}", self.encode())
    }
}

impl FromStr for EnrolmentToken {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "an enrolment token as tracer-enroll-1. and base64";
        let error = ParseIdentityError { expected };
        let encoded = text.trim().strip_prefix(TOKEN).ok_or(error)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| error)?;
        Self::decode(&bytes).map_err(|_| error)
    }
}

impl EnrolmentToken {
    fn encode(&self) -> String {
        let mut to = Writer::default();
        to.bytes(&self.authority);
        to.u64(self.expires.0);
        to.bytes(&self.secret.0);
        to.sized(self.collector.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(to.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormError> {
        let mut from = Reader::new(bytes);
        let token = Self {
            authority: from.array("the authority")?,
            expires: WallNanos(from.u64("the expiry")?),
            secret: TokenSecret(from.array("the secret")?),
            collector: str::from_utf8(from.sized(MAX_ADDRESS, "the address")?)
                .map_err(|_| FormError::Contradiction {
                    what: "a token",
                    why: "its address is no text",
                })?
                .into(),
        };
        from.end("a token")?;
        Ok(token)
    }
}

/// What lets somebody query a collector: the same things, for as long as it is good. As text it is
/// `tracer-reader-1.` and URL-safe base64 without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderToken(pub EnrolmentToken);

const READER_TOKEN: &str = "tracer-reader-1.";

impl fmt::Display for ReaderToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{READER_TOKEN}{}", self.0.encode())
    }
}

impl FromStr for ReaderToken {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "a reader's token as tracer-reader-1. and base64";
        let error = ParseIdentityError { expected };
        let encoded = text.trim().strip_prefix(READER_TOKEN).ok_or(error)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| error)?;
        EnrolmentToken::decode(&bytes).map(Self).map_err(|_| error)
    }
}

/// 32 random bytes that only the one they were given to can know. They are not printed.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct TokenSecret([u8; 32]);

impl TokenSecret {
    /// A new one.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = random()?;
        let secret = Self(*bytes);
        bytes.zeroize();
        Ok(secret)
    }

    /// What a collector keeps of it: SHA-256 is enough for 256 random bits.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        crate::identity::sha256("tracer token 1", &[&self.0])
    }

    /// It as URL-safe base64 without padding, to be shown to whom it is for.
    #[must_use]
    pub fn reveal(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret")
    }
}

impl FromStr for TokenSecret {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "a secret as 43 characters of URL-safe base64";
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(ParseIdentityError { expected })
    }
}

/// An agent's signature over a request for a certificate, with the key that signs its records: shows
/// that both keys are of one hand. As text it is 128 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof([u8; 64]);

/// What a [`Proof`] is for: one for the first is none for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The first certificate.
    Enrolment,
    /// The next one.
    Renewal,
}

impl Purpose {
    const fn text(self) -> &'static str {
        match self {
            Self::Enrolment => "tracer enrolment 1",
            Self::Renewal => "tracer renewal 1",
        }
    }
}

impl Proof {
    /// Signs a certificate request (PKCS #10), given in its DER form.
    #[must_use]
    pub fn sign(purpose: Purpose, request: &[u8], key: &SigningKey) -> Self {
        Self(key.sign(&proven(purpose, request)))
    }

    /// Whether the agent signed this request for this purpose.
    #[must_use]
    pub fn is_of(&self, agent: AgentId, purpose: Purpose, request: &[u8]) -> bool {
        is_signed_by(agent, &proven(purpose, request), &self.0)
    }
}

/// The purpose, a zero, and SHA-256 over the request.
fn proven(purpose: Purpose, request: &[u8]) -> Vec<u8> {
    let digest = Sha256::digest(request);
    [purpose.text().as_bytes(), &[0], &digest[..]].concat()
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({self})")
    }
}

impl FromStr for Proof {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "a signature as 128 hex digits";
        hex(text).map(Self).ok_or(ParseIdentityError { expected })
    }
}

/// Types that are text in JSON as they are everywhere else.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(
    TrustDomain,
    AgentUri,
    EnrolmentToken,
    Proof,
    AgentId,
    crate::SessionId,
    crate::RecordHash,
    Recipient
);

impl Serialize for TokenSecret {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.reveal())
    }
}

impl<'de> Deserialize<'de> for TokenSecret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An agent asks for its first certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentRequest {
    /// The token's secret.
    pub token: TokenSecret,
    /// The key that signs the agent's records.
    pub agent: AgentId,
    /// A certificate request (PKCS #10, PEM) for a key that the agent uses for TLS and nothing else.
    /// Its subject and extensions are not looked at.
    pub csr: String,
    /// Over `csr`, for [`Purpose::Enrolment`].
    pub proof: Proof,
    /// What people call the node: at most 64 letters, digits, dots, hyphens and underscores.
    pub name: String,
}

/// An agent asks for its next certificate, and shows its present one in the TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewalRequest {
    /// As in [`EnrolmentRequest::csr`]; the key may be the same or a new one.
    pub csr: String,
    /// Over `csr`, for [`Purpose::Renewal`].
    pub proof: Proof,
}

/// What an agent gets on enrolment and on renewal. It may hold more in later versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The agent's certificate and those between it and a root, PEM.
    pub certificate: String,
    /// The certificates that the collector's own leads to, PEM; they replace the earlier ones.
    pub roots: String,
    /// Whom telemetry is sealed for: the collector.
    pub telemetry_recipient: Recipient,
    /// Where records go: host and port, TLS 1.3 with [`ALPN`].
    pub agents: String,
    /// As in the certificate's [`AgentUri`].
    pub trust_domain: TrustDomain,
}

/// What every answer other than success holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong and, where possible, what to do.
    pub error: String,
}

/// Whether a node may be called so.
#[must_use]
pub fn is_node_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> EnrolmentToken {
        EnrolmentToken {
            authority: [7; 32],
            expires: WallNanos(1_795_402_800_000_000_000),
            secret: TokenSecret::generate().unwrap(),
            collector: "collector.example:7443".into(),
        }
    }

    #[test]
    fn a_token_reads_back_from_its_text() {
        let token = token();
        let text = token.to_string();
        assert_eq!(text.parse().as_ref(), Ok(&token));
        assert_eq!(format!(" {text}\n").parse().as_ref(), Ok(&token));
        let cut = &text[..text.len() - 3];
        for wrong in [
            "",
            "tracer-enroll-1.",
            "tracer-enroll-2.AAAA",
            cut,
            &text[3..],
        ] {
            assert!(wrong.parse::<EnrolmentToken>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_for_one_thing_is_none_for_another() {
        let token = ReaderToken(token());
        let text = token.to_string();
        assert_eq!(text.parse().as_ref(), Ok(&token));
        assert!(text.parse::<EnrolmentToken>().is_err());
        assert!(token.0.to_string().parse::<ReaderToken>().is_err());
    }

    #[test]
    fn a_secret_is_not_printed() {
        let token = token();
        assert!(!format!("{token:?}").contains(&token.secret.reveal()));
    }

    #[test]
    fn a_proof_is_for_one_purpose_one_request_and_one_agent() {
        let [ours, theirs] = [[1; 32], [2; 32]].map(|seed| SigningKey::from_seed(&seed).unwrap());
        let proof = Proof::sign(Purpose::Enrolment, b"request", &ours);
        assert!(proof.is_of(ours.agent(), Purpose::Enrolment, b"request"));
        assert!(!proof.is_of(ours.agent(), Purpose::Renewal, b"request"));
        assert!(!proof.is_of(ours.agent(), Purpose::Enrolment, b"another"));
        assert!(!proof.is_of(theirs.agent(), Purpose::Enrolment, b"request"));
        assert_eq!(proof.to_string().parse(), Ok(proof));
    }

    #[test]
    fn an_agent_reads_back_from_its_uri() {
        let uri = AgentUri {
            trust_domain: "prod.example".parse().unwrap(),
            agent: AgentId([0xab; 32]),
        };
        assert_eq!(uri.to_string().parse().as_ref(), Ok(&uri));
        let agent = AgentId([0xab; 32]);
        for wrong in [
            format!("spiffe:///agent/{agent}"),
            format!("spiffe://prod.example/agent/{agent}/more"),
            format!("spiffe://prod.example/collector/{agent}"),
            format!("spiffe://Prod.example/agent/{agent}"),
            format!("spiffe://prod/x/agent/{agent}"),
            format!("https://prod.example/agent/{agent}"),
        ] {
            assert!(wrong.parse::<AgentUri>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_with_an_unknown_key_is_refused() {
        let request = RenewalRequest {
            csr: String::from("-----BEGIN CERTIFICATE REQUEST-----"),
            proof: Proof([3; 64]),
        };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(
            serde_json::from_str::<RenewalRequest>(&text).unwrap(),
            request
        );
        let wrong = text.replacen('{', "{\"extra\":1,", 1);
        assert!(serde_json::from_str::<RenewalRequest>(&wrong).is_err());
    }
}
