//! The other end: what a collector does with frames, with a store that never fails.

use std::collections::BTreeMap;

use tracer_wire::{
    Accepted, ChainError, Frame, FrameReader, Position, Record, RecordHash, Refusal, Sequence,
    SessionId, Verifier,
};

/// Records that a collector holds at once, at most.
const CREDIT: u32 = 4;

/// What survives all connections.
#[derive(Default)]
pub(super) struct Collector {
    pub(super) sessions: BTreeMap<SessionId, Stored>,
    /// Records that came a second time and changed nothing.
    pub(super) repeated: u64,
}

/// A session as it is stored.
pub(super) struct Stored {
    pub(super) verifier: Verifier,
    /// In the order in which they came.
    pub(super) records: Vec<Record>,
    links: BTreeMap<Sequence, RecordHash>,
}

/// One connection.
#[derive(Default)]
pub(super) struct Connection {
    reader: FrameReader,
}

impl Collector {
    /// Takes bytes and answers.
    pub(super) fn receive(&mut self, connection: &mut Connection, bytes: &[u8]) -> Vec<u8> {
        connection.reader.push(bytes);
        let mut answers = Vec::new();
        while let Some(frame) = connection
            .reader
            .next_frame()
            .expect("the network cuts, no more")
        {
            let answer = match frame {
                Frame::Hello { .. } => vec![Frame::Credit { records: CREDIT }],
                Frame::Ask { session } => {
                    let stored = self.sessions.get(&session);
                    let position =
                        stored.map_or(Position::START, |stored| stored.verifier.position());
                    vec![Frame::Stands { session, position }]
                }
                Frame::Record(record) => self.take(&record),
                other => panic!("an agent says {other:?}"),
            };
            answers.extend(answer.iter().flat_map(Frame::to_bytes));
        }
        answers
    }

    fn take(&mut self, record: &Record) -> Vec<Frame> {
        let claims = record.claims();
        let (session, sequence) = (claims.session, claims.sequence);
        let stored = self.sessions.entry(session).or_insert_with(|| Stored {
            verifier: Verifier::of(claims),
            records: Vec::new(),
            links: BTreeMap::new(),
        });
        let links = &stored.links;
        match stored.verifier.accept(record, |at| links.get(&at).copied()) {
            Ok(Accepted::Next) => {
                stored.links.insert(sequence, record.link());
                stored.records.push(record.clone());
            }
            Ok(Accepted::Repeated) => self.repeated += 1,
            Err(ChainError::Missing { .. }) => {
                let reason = Refusal::Missing;
                return vec![Frame::Refused {
                    session,
                    sequence,
                    reason,
                }];
            }
            Err(error) => panic!("an honest agent's record is refused: {error}\n{record:?}"),
        }
        vec![
            Frame::Stored {
                session,
                through: sequence,
            },
            Frame::Credit { records: 1 },
        ]
    }
}
