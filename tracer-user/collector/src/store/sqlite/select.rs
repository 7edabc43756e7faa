//! Finding records by what they say in the clear.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params, params_from_iter};
use tracer_wire::{AgentId, Epoch, RecordHash, Sequence, SessionId};

use super::{position, stream, stream_code, time, wall};
use crate::store::{Cursor, Entry, Place, RecordNumber, Selection, Session, StoreError};

/// What [`entry`] reads.
const COLUMNS: &str =
    "r.number, s.agent, s.session, r.stream, r.epoch, r.sequence, r.link, r.first,
                       r.last, r.events, r.body = 3, r.segment, r.position, r.length";

pub(super) fn entries(
    index: &Connection,
    selection: &Selection,
    from: Cursor,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let longest: i64 = index.query_row("SELECT longest FROM spans", [], |row| row.get(0))?;
    let (sql, values) = statement(selection, from, limit, longest);
    let mut statement = index.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(values), entry)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// A selection in SQL, with its values in their order.
fn statement(
    selection: &Selection,
    from: Cursor,
    limit: usize,
    longest: i64,
) -> (String, Vec<Box<dyn ToSql>>) {
    let Selection {
        stream,
        agents,
        session,
        from: earliest,
        to: latest,
        kinds,
        models,
    } = selection;
    // In the order of arrival only what came after a record is looked at, however much is stored: the
    // planner would rather take all of a time range, and sort it. A `+` keeps a column from an index.
    let (join, plain) = match from {
        Cursor::Time { .. } => ("JOIN", ""),
        Cursor::Arrival { .. } => ("CROSS JOIN", "+"),
    };
    let mut sql =
        format!("SELECT {COLUMNS} FROM records r {join} sessions s ON s.id = {plain}r.session");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut given = |value: Box<dyn ToSql>| values.push(value);
    let (earliest, latest) = (time(*earliest), time(*latest));
    let _ = write!(
        sql,
        " WHERE r.body IN (2, 3) AND s.shredded != 1 AND {plain}r.stream = ?
         AND {plain}r.first <= ? AND r.last >= ? AND {plain}r.first >= ?"
    );
    given(Box::new(stream_code(*stream)));
    given(Box::new(latest));
    given(Box::new(earliest));
    given(Box::new(earliest.saturating_sub(longest)));
    if let Some(agents) = agents {
        let _ = write!(sql, " AND s.agent IN ({})", marks(agents.len()));
        agents.iter().for_each(|agent| given(Box::new(agent.0)));
    }
    if let Some(session) = session {
        sql.push_str(" AND s.session = ?");
        given(Box::new(session.0));
    }
    // A gap may have held anything.
    if !kinds.is_empty() {
        let _ = write!(
            sql,
            " AND (r.body = 3 OR EXISTS (SELECT 1 FROM counts c JOIN kinds k ON k.id = c.kind
             WHERE c.record = r.number AND k.name IN ({})))",
            marks(kinds.len())
        );
        kinds
            .iter()
            .for_each(|kind| given(Box::new(kind.as_str().to_owned())));
    }
    if !models.is_empty() {
        let models_are = format!("d.digest IN ({})", marks(models.len()));
        match from {
            Cursor::Time { .. } => {
                let _ = write!(
                    sql,
                    " AND (r.body = 3 OR r.number IN (SELECT m.record FROM mentions m
                     JOIN models d ON d.id = m.model
                     WHERE {models_are} AND m.first BETWEEN ? AND ?))",
                );
            }
            Cursor::Arrival { .. } => {
                let _ = write!(
                    sql,
                    " AND (r.body = 3 OR EXISTS (SELECT 1 FROM mentions m
                     JOIN models d ON d.id = m.model
                     WHERE m.record = r.number AND {models_are} AND m.first BETWEEN ? AND ?))",
                );
            }
        }
        models.iter().for_each(|model| given(Box::new(model.0)));
        given(Box::new(earliest.saturating_sub(longest)));
        given(Box::new(latest));
    }
    match from {
        Cursor::Time { after, through } => {
            sql.push_str(" AND r.number <= ?");
            given(Box::new(through.0.cast_signed()));
            if let Some((first, number)) = after {
                sql.push_str(" AND (r.first, r.number) > (?, ?)");
                given(Box::new(time(first)));
                given(Box::new(number.0.cast_signed()));
            }
            sql.push_str(" ORDER BY r.first, r.number");
        }
        Cursor::Arrival { after } => {
            sql.push_str(" AND r.number > ? ORDER BY r.number");
            given(Box::new(after.0.cast_signed()));
        }
    }
    sql.push_str(" LIMIT ?");
    given(Box::new(i64::try_from(limit).unwrap_or(i64::MAX)));
    (sql, values)
}

pub(super) fn epoch(
    index: &Connection,
    agent: AgentId,
    session: SessionId,
    epoch: Epoch,
) -> Result<Option<Entry>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM records r JOIN sessions s ON s.id = r.session
         WHERE s.agent = ? AND s.session = ? AND s.shredded != 1 AND r.epoch = ? AND r.body = 1"
    );
    let mut statement = index.prepare_cached(&sql)?;
    let found = statement.query_row(params![agent.0, session.0, epoch.0], entry);
    Ok(found.optional()?)
}

pub(super) fn chain(
    index: &Connection,
    agent: AgentId,
    session: SessionId,
    after: Option<Sequence>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM records r JOIN sessions s ON s.id = r.session
         WHERE s.agent = ? AND s.session = ? AND s.shredded != 1 AND r.sequence > ?
         ORDER BY r.sequence LIMIT ?"
    );
    let after = after.map_or(-1, |after| after.0.cast_signed());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = index.prepare_cached(&sql)?;
    let found = statement.query_map(params![agent.0, session.0, after, limit], entry)?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn is_kept(index: &Connection, number: RecordNumber) -> Result<bool, StoreError> {
    let mut statement = index.prepare_cached(
        "SELECT 1 FROM records r JOIN sessions s ON s.id = r.session
         WHERE r.number = ? AND s.shredded != 1",
    )?;
    Ok(statement.exists([number.0.cast_signed()])?)
}

pub(super) fn sessions(index: &Connection) -> Result<Vec<Session>, StoreError> {
    let mut statement = index.prepare_cached(
        "SELECT s.agent, s.session, s.stream, s.next, s.link, s.epoch, s.closed, s.began, s.stored,
         s.records, s.events, s.lost, s.gaps,
         s.shredded,
         NOT s.closed AND EXISTS (SELECT 1 FROM sessions later WHERE later.agent = s.agent
             AND later.stream = s.stream AND later.id > s.id)
         FROM sessions s ORDER BY s.id",
    )?;
    let found = statement.query_map([], |row| {
        let number = |column| row.get(column).map(i64::cast_unsigned);
        Ok(Session {
            agent: AgentId(row.get(0)?),
            session: SessionId(row.get(1)?),
            stream: stream(row, 2)?,
            position: position(row, 3)?,
            began: wall(row.get(7)?),
            stored: wall(row.get(8)?),
            records: number(9)?,
            events: number(10)?,
            lost: number(11)?,
            gaps: number(12)?,
            is_shredded: row.get::<_, i64>(13)? != 0,
            is_cut_off: row.get(14)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let number = |column| row.get(column).map(i64::cast_unsigned);
    let events: Option<i64> = row.get(9)?;
    Ok(Entry {
        number: RecordNumber(number(0)?),
        agent: AgentId(row.get(1)?),
        session: SessionId(row.get(2)?),
        stream: stream(row, 3)?,
        epoch: Epoch(row.get(4)?),
        sequence: Sequence(number(5)?),
        link: RecordHash(row.get(6)?),
        first: wall(row.get(7)?),
        last: wall(row.get(8)?),
        events: events.map(i64::cast_unsigned),
        is_gap: row.get(10)?,
        place: Place {
            segment: number(11)?,
            position: number(12)?,
            length: row.get(13)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tracer_event::Digest;
    use tracer_wire::{EventKind, Stream};

    use super::*;

    #[test]
    fn what_arrives_is_found_without_looking_at_what_is_stored() {
        let index = Connection::open_in_memory().unwrap();
        index.execute_batch(super::super::SCHEMA).unwrap();
        let all = Selection::all(Stream::Telemetry);
        let narrow = Selection {
            agents: Some(BTreeSet::from([AgentId([1; 32])])),
            kinds: BTreeSet::from([EventKind::new("inference.step").unwrap()]),
            models: BTreeSet::from([Digest([1; 32])]),
            ..all.clone()
        };
        let after = RecordNumber(5);
        for selection in [all, narrow] {
            let (sql, values) = statement(&selection, Cursor::Arrival { after }, 64, 0);
            let mut plan = index.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps: Vec<String> = plan
                .query_map(params_from_iter(values), |row| row.get("detail"))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            // From that record on, and in its order without a sort.
            assert_eq!(
                steps[0], "SEARCH r USING INTEGER PRIMARY KEY (rowid>?)",
                "{steps:?}"
            );
            assert!(
                !steps
                    .iter()
                    .any(|step| step.contains("ORDER BY") || step.starts_with("SCAN")),
                "{steps:?}"
            );
        }
    }
}
