//! Deleting what was kept long enough, and what must not be kept.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};
use tracer_event::WallNanos;
use tracer_wire::{AgentId, SessionId, Stream};

use super::{SqliteStore, append::Writer, stream_code, time};
use crate::store::{Expired, Place, Retention, StoreError, segments::Segments};

impl Writer {
    /// Deletes whole segments. The one that is being written goes only when its time has passed.
    pub(super) fn expire(
        &mut self,
        segments: &Segments,
        retention: &Retention,
        now: WallNanos,
    ) -> Result<Expired, StoreError> {
        let mut expired = Expired::default();
        let limits = [
            (Stream::Telemetry, retention.telemetry),
            (Stream::Content, retention.content),
        ];
        for (stream, kept) in limits {
            let before = time(now).saturating_sub(nanos(kept));
            let over: Vec<i64> = self
                .index
                .prepare_cached(
                    "SELECT number FROM segments WHERE stream = ? AND newest < ? AND length > 0",
                )?
                .query_map(params![stream_code(stream), before], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for number in over {
                self.delete(segments, number, &mut expired)?;
            }
        }
        loop {
            let total: i64 = self.index.query_row(
                "SELECT coalesce(sum(length), 0) FROM segments",
                [],
                |row| row.get(0),
            )?;
            if total.cast_unsigned() <= retention.total {
                return Ok(expired);
            }
            let oldest: Option<i64> = self
                .index
                .query_row(
                    "SELECT number FROM segments WHERE open = 0 ORDER BY newest, number LIMIT 1",
                    [],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(oldest) = oldest else {
                return Ok(expired);
            };
            self.delete(segments, oldest, &mut expired)?;
            expired.for_room = true;
        }
    }

    /// The index first: what it does not name does not count, and its file goes on the next opening
    /// if not now.
    fn delete(
        &mut self,
        segments: &Segments,
        number: i64,
        expired: &mut Expired,
    ) -> Result<(), StoreError> {
        let transaction = self.index.transaction()?;
        let records = "SELECT number FROM records WHERE segment = ?";
        for table in ["counts", "mentions"] {
            let sql = format!("DELETE FROM {table} WHERE record IN ({records})");
            transaction.execute(&sql, [number])?;
        }
        let count = transaction.execute("DELETE FROM records WHERE segment = ?", [number])?;
        let bytes: i64 = transaction.query_row(
            "DELETE FROM segments WHERE number = ? RETURNING length",
            [number],
            |row| row.get(0),
        )?;
        transaction.commit()?;
        expired.records += count as u64;
        expired.bytes += bytes.cast_unsigned();
        let number = number.cast_unsigned();
        self.open.retain(|_, open| open.number != number);
        segments.delete(number)
    }
}

impl SqliteStore {
    pub(super) fn shred_session(
        &self,
        agent: AgentId,
        session: SessionId,
    ) -> Result<u64, StoreError> {
        let mut writer = self.writer();
        let id: Option<i64> = writer
            .index
            .query_row(
                "UPDATE sessions SET shredded = 1 WHERE agent = ? AND session = ? RETURNING id",
                params![agent.0, session.0],
                |row| row.get(0),
            )
            .optional()?;
        id.map_or(Ok(0), |id| self.overwrite(&mut writer, id))
    }

    /// What was begun before the store was closed.
    pub(super) fn finish_shredding(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let begun: Vec<i64> = writer
            .index
            .prepare("SELECT id FROM sessions WHERE shredded = 1")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for id in begun {
            self.overwrite(&mut writer, id)?;
        }
        Ok(())
    }

    fn overwrite(&self, writer: &mut Writer, id: i64) -> Result<u64, StoreError> {
        // Records that began epochs hold the wrapped keys: without them the rest cannot be opened.
        let places: Vec<Place> = writer
            .index
            .prepare(
                "SELECT segment, position, length FROM records WHERE session = ?
                 ORDER BY body != 1, segment, position",
            )?
            .query_map([id], |row| {
                Ok(Place {
                    segment: row.get::<_, i64>(0)?.cast_unsigned(),
                    position: row.get::<_, i64>(1)?.cast_unsigned(),
                    length: row.get(2)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        self.segments.overwrite(&places)?;
        let transaction = writer.index.transaction()?;
        let records = "SELECT number FROM records WHERE session = ?";
        for table in ["counts", "mentions"] {
            let sql = format!("DELETE FROM {table} WHERE record IN ({records})");
            transaction.execute(&sql, [id])?;
        }
        let count = transaction.execute("DELETE FROM records WHERE session = ?", [id])?;
        transaction.execute("UPDATE sessions SET shredded = 2 WHERE id = ?", [id])?;
        transaction.commit()?;
        writer.forget();
        Ok(count as u64)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
