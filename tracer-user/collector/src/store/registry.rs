//! Who may do what: agents that enrolled, and tokens. Other processes change it while a collector
//! runs, such as `tracer-collector agent revoke`.

use std::{
    fmt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use tracer_event::WallNanos;
use tracer_wire::{AgentId, enrolment::TokenSecret};

use super::{
    StoreError,
    sqlite::{open_index, time, wall},
};

/// The part of the index that says who may do what.
pub struct Registry {
    index: Mutex<Connection>,
}

/// An agent that enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Which.
    pub agent: AgentId,
    /// What people call its node.
    pub name: String,
    /// When it enrolled last.
    pub enrolled: WallNanos,
    /// When its latest certificate ends.
    pub certified_until: WallNanos,
    /// Since when it is no longer let in.
    pub revoked: Option<WallNanos>,
    /// When it was connected last.
    pub seen: Option<WallNanos>,
}

/// A token that was given to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its number, by which it is revoked.
    pub id: i64,
    /// What it is good for.
    pub purpose: TokenPurpose,
    /// Of its secret, or of the certificate.
    pub digest: [u8; 32],
    /// Whose it is. For enrolment, the name that the node must have; empty if it may have any.
    pub name: String,
    /// When it was made.
    pub created: WallNanos,
    /// Until when it is good.
    pub expires: WallNanos,
    /// Since when it is no longer good.
    pub revoked: Option<WallNanos>,
    /// Which agent enrolled with it.
    pub used_by: Option<AgentId>,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPurpose {
    /// One agent enrols.
    Enrol,
    /// Somebody queries.
    Read,
    /// Somebody queries, and shows a certificate in place of a secret.
    ReadCertified,
}

/// What somebody who queries shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The secret of a token.
    Token(TokenSecret),
    /// A certificate, in a handshake that showed its key too.
    Certificate(Fingerprint),
}

/// SHA-256 of a certificate (DER).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl TokenPurpose {
    const fn code(self) -> &'static str {
        match self {
            Self::Enrol => "enrol",
            Self::Read => "read",
            Self::ReadCertified => "cert",
        }
    }
}

impl fmt::Display for TokenPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// A token does not let in.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Nobody was given it, or it was revoked.
    #[error("it is not known here, or was revoked")]
    Unknown,
    /// Its time has passed.
    #[error("it has expired")]
    Expired,
    /// Another agent has used it.
    #[error("it was used by another agent")]
    Used,
    /// It is for a node of another name.
    #[error("it is for a node named {0:?}")]
    OtherName(String),
    /// The agent was revoked: no token lets it in again.
    #[error("the agent is revoked; it needs a new key")]
    Revoked,
    /// It could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for Denied {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Registry {
    /// Opens the registry of the store in a folder, which may be in use.
    ///
    /// # Errors
    /// If there is none, or of another version.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let index = Mutex::new(open_index(folder)?);
        Ok(Self { index })
    }

    fn index(&self) -> MutexGuard<'_, Connection> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a new token. Only a hash of its secret is kept.
    ///
    /// # Errors
    /// If the store does not work.
    pub fn add_token(
        &self,
        purpose: TokenPurpose,
        name: &str,
        secret: &TokenSecret,
        expires: WallNanos,
        now: WallNanos,
    ) -> Result<i64, StoreError> {
        self.add(purpose, name, secret.digest(), expires, now)
    }

    /// Notes a certificate that was made for somebody who queries.
    ///
    /// # Errors
    /// If the store does not work.
    pub fn add_certificate(
        &self,
        name: &str,
        certificate: Fingerprint,
        expires: WallNanos,
        now: WallNanos,
    ) -> Result<i64, StoreError> {
        let purpose = TokenPurpose::ReadCertified;
        self.add(purpose, name, certificate.0, expires, now)
    }

    fn add(
        &self,
        purpose: TokenPurpose,
        name: &str,
        digest: [u8; 32],
        expires: WallNanos,
        now: WallNanos,
    ) -> Result<i64, StoreError> {
        let index = self.index();
        index.execute(
            "INSERT INTO tokens (digest, purpose, name, created, expires) VALUES (?, ?, ?, ?, ?)",
            params![digest, purpose.code(), name, time(now), time(expires)],
        )?;
        Ok(index.last_insert_rowid())
    }

    /// All tokens, oldest first.
    ///
    /// # Errors
    /// If the store does not work.
    pub fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let index = self.index();
        let mut statement = index.prepare_cached(&format!("{TOKENS} ORDER BY id"))?;
        let tokens = statement.query_map([], token)?;
        Ok(tokens.collect::<Result<_, _>>()?)
    }

    /// The token is no longer good. Tells whether there is one that was.
    ///
    /// # Errors
    /// If the store does not work.
    pub fn revoke_token(&self, id: i64, now: WallNanos) -> Result<bool, StoreError> {
        let changed = self.index().execute(
            "UPDATE tokens SET revoked = ? WHERE id = ? AND revoked IS NULL",
            params![time(now), id],
        )?;
        Ok(changed == 1)
    }

    /// Who queries with this.
    ///
    /// # Errors
    /// If nobody may.
    pub fn reader(&self, credential: &Credential, now: WallNanos) -> Result<Token, Denied> {
        let (purpose, digest) = match credential {
            Credential::Token(secret) => (TokenPurpose::Read, secret.digest()),
            Credential::Certificate(certificate) => (TokenPurpose::ReadCertified, certificate.0),
        };
        self.good_token(&self.index(), purpose, digest, now)
    }

    /// Whether [`Self::enrol`] would take an agent in. It changes nothing.
    ///
    /// # Errors
    /// If the token does not let it in.
    pub fn admits(
        &self,
        secret: &TokenSecret,
        agent: AgentId,
        name: &str,
        now: WallNanos,
    ) -> Result<(), Denied> {
        self.admitting(&self.index(), secret, agent, name, now)
            .map(drop)
    }

    /// Takes an agent in with a token's secret, which from then on is good for this agent alone.
    ///
    /// # Errors
    /// If the token does not let it in.
    pub fn enrol(
        &self,
        secret: &TokenSecret,
        agent: AgentId,
        name: &str,
        certified_until: WallNanos,
        now: WallNanos,
    ) -> Result<(), Denied> {
        let mut index = self.index();
        let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let token = self.admitting(&transaction, secret, agent, name, now)?;
        transaction.execute(
            "UPDATE tokens SET used_by = ? WHERE id = ?",
            params![agent.0, token.id],
        )?;
        transaction.execute(
            "INSERT INTO agents (agent, name, enrolled, certified_until) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (agent) DO UPDATE SET name = ?2, enrolled = ?3, certified_until = ?4",
            params![agent.0, name, time(now), time(certified_until)],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Notes that an agent got its next certificate.
    ///
    /// # Errors
    /// If it is not known or revoked.
    pub fn renew(&self, agent: AgentId, certified_until: WallNanos) -> Result<(), Denied> {
        let changed = self.index().execute(
            "UPDATE agents SET certified_until = ? WHERE agent = ? AND revoked IS NULL",
            params![time(certified_until), agent.0],
        )?;
        match changed {
            1 => Ok(()),
            _ => Err(Denied::Revoked),
        }
    }

    /// All agents, by name.
    ///
    /// # Errors
    /// If the store does not work.
    pub fn agents(&self) -> Result<Vec<Agent>, StoreError> {
        let index = self.index();
        let mut statement = index.prepare_cached(
            "SELECT agent, name, enrolled, certified_until, revoked, seen FROM agents
             ORDER BY name, agent",
        )?;
        let agents = statement.query_map([], |row| {
            Ok(Agent {
                agent: AgentId(row.get(0)?),
                name: row.get(1)?,
                enrolled: wall(row.get(2)?),
                certified_until: wall(row.get(3)?),
                revoked: row.get::<_, Option<i64>>(4)?.map(wall),
                seen: row.get::<_, Option<i64>>(5)?.map(wall),
            })
        })?;
        Ok(agents.collect::<Result<_, _>>()?)
    }

    /// An agent is no longer let in. Tells whether there is one that was.
    ///
    /// # Errors
    /// If the store does not work.
    pub fn revoke_agent(&self, agent: AgentId, now: WallNanos) -> Result<bool, StoreError> {
        let changed = self.index().execute(
            "UPDATE agents SET revoked = ? WHERE agent = ? AND revoked IS NULL",
            params![time(now), agent.0],
        )?;
        Ok(changed == 1)
    }

    /// Notes that agents are connected.
    ///
    /// # Errors
    /// If the store does not work.
    pub fn seen(&self, agents: &[AgentId], now: WallNanos) -> Result<(), StoreError> {
        let mut index = self.index();
        let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for agent in agents {
            transaction
                .prepare_cached("UPDATE agents SET seen = ? WHERE agent = ?")?
                .execute(params![time(now), agent.0])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// A number that changes when another process has changed anything.
    ///
    /// # Errors
    /// If the store does not work.
    pub fn version(&self) -> Result<i64, StoreError> {
        let index = self.index();
        Ok(index.query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }

    /// The token that lets an agent in.
    fn admitting(
        &self,
        index: &Connection,
        secret: &TokenSecret,
        agent: AgentId,
        name: &str,
        now: WallNanos,
    ) -> Result<Token, Denied> {
        let token = self.good_token(index, TokenPurpose::Enrol, secret.digest(), now)?;
        if token.used_by.is_some_and(|other| other != agent) {
            return Err(Denied::Used);
        }
        if !token.name.is_empty() && token.name != name {
            return Err(Denied::OtherName(token.name));
        }
        let is_revoked = index
            .prepare_cached("SELECT 1 FROM agents WHERE agent = ? AND revoked IS NOT NULL")?
            .exists([agent.0])?;
        if is_revoked {
            return Err(Denied::Revoked);
        }
        Ok(token)
    }

    fn good_token(
        &self,
        index: &Connection,
        purpose: TokenPurpose,
        digest: [u8; 32],
        now: WallNanos,
    ) -> Result<Token, Denied> {
        let sql = format!("{TOKENS} WHERE digest = ? AND purpose = ?");
        let found = index
            .prepare_cached(&sql)?
            .query_row(params![digest, purpose.code()], token)
            .optional()?;
        let token = found
            .filter(|token| token.revoked.is_none())
            .ok_or(Denied::Unknown)?;
        if token.expires <= now {
            return Err(Denied::Expired);
        }
        Ok(token)
    }
}

const TOKENS: &str =
    "SELECT id, purpose, name, created, expires, revoked, used_by, digest FROM tokens";

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let purpose: String = row.get(1)?;
    Ok(Token {
        id: row.get(0)?,
        purpose: [TokenPurpose::Read, TokenPurpose::ReadCertified]
            .into_iter()
            .find(|known| known.code() == purpose)
            .unwrap_or(TokenPurpose::Enrol),
        digest: row.get(7)?,
        name: row.get(2)?,
        created: wall(row.get(3)?),
        expires: wall(row.get(4)?),
        revoked: row.get::<_, Option<i64>>(5)?.map(wall),
        used_by: row.get::<_, Option<[u8; 32]>>(6)?.map(AgentId),
    })
}
