//! Hot operations, a table every ten seconds and one for the whole run.

use std::{collections::BTreeMap, time::Duration};

use tracer_event::{Event, Name, Nanos, OperationHistogram};

use super::time_of_day;
use crate::text::{Palette, Tone, count, short_duration};

/// From one table to the next.
const EVERY: Nanos = Nanos(10_000_000_000);
/// As many columns as the time of a line takes.
const INDENT: &str = "              ";

/// What operations took, since the last table and since the run began.
#[derive(Debug, Default)]
pub(super) struct Operations {
    recent: BTreeMap<Name, OperationHistogram>,
    all: BTreeMap<Name, OperationHistogram>,
}

impl Operations {
    /// Takes a window in; the table, when it is time for one.
    pub(super) fn add<C>(
        &mut self,
        event: &Event<C>,
        window: &OperationHistogram,
        palette: Palette,
    ) -> Option<String> {
        let from = self.recent.values().map(|known| known.from).min();
        let since = window.from.since(from.unwrap_or(window.from));
        let ready = since >= EVERY;
        // The windows of one look are told one after another, and begin together: the table holds
        // all of those before.
        let table = ready.then(|| {
            let time = palette.paint(Tone::Faint, &time_of_day(event.time.wall));
            let what = format!("operations within {}", short(since));
            format!("{time}  {what}\n{}", table(&self.recent, palette))
        });
        if ready {
            self.recent.clear();
        }
        for windows in [&mut self.recent, &mut self.all] {
            match windows.get_mut(&window.operation) {
                Some(known) => known.add(window),
                None => drop(windows.insert(window.operation.clone(), window.clone())),
            }
        }
        table
    }

    /// The table of the whole run, if there was any operation.
    pub(super) fn end(&self, palette: Palette) -> String {
        if self.all.is_empty() {
            return String::new();
        }
        format!(
            "\noperations of the whole run, those of all traced processes together\n{}",
            table(&self.all, palette)
        )
    }
}

fn table(operations: &BTreeMap<Name, OperationHistogram>, palette: Palette) -> String {
    let names = operations.keys().map(|name| name.as_str().chars().count());
    let width = names.max().unwrap_or(0).max("OPERATION".len());
    let heading = format!(
        "{INDENT}{:<width$}  {:>11}  {:>10}  {:>8}  {:>8}  {:>8}\n",
        "OPERATION", "CALLS", "TOTAL", "MEAN", "P50 <", "P99 <",
    );
    let mut lines = palette.paint(Tone::Faint, &heading);
    for (name, operation) in operations {
        let known = |time: Option<Nanos>| time.map_or_else(|| "?".to_owned(), short);
        lines.push_str(&format!(
            "{INDENT}{:<width$}  {:>11}  {:>10}  {:>8}  {:>8}  {:>8}\n",
            name.as_str(),
            count(operation.count),
            short(operation.sum),
            known(operation.mean()),
            known(operation.percentile(50)),
            known(operation.percentile(99)),
        ));
    }
    lines
}

fn short(time: Nanos) -> String {
    short_duration(Duration::from_nanos(time.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event as the tracer writes it.
    fn window(
        operation: &str,
        seconds: u64,
        buckets: &[u64],
        sum: u64,
    ) -> Event<tracer_event::Recorded> {
        let (from, to) = (seconds * 1_000_000_000, (seconds + 1) * 1_000_000_000);
        serde_json::from_value(serde_json::json!({
            "schema": tracer_event::SCHEMA,
            "time": {"boot": to, "wall": "2026-11-25T14:03:20.500000000Z"},
            "where": {"node": "here"},
            "grant": {"name": "local", "level": "shape", "policy": format!("sha256:{:064}", 0)},
            "kind": "op.histogram",
            "body": {
                "operation": operation, "from": from, "to": to,
                "count": buckets.iter().sum::<u64>(), "sum": sum, "buckets": buckets,
            },
        }))
        .expect("it is an event")
    }

    #[test]
    fn operations_are_shown_every_ten_seconds_and_at_the_end() {
        let mut operations = Operations::default();
        let mut text = String::new();
        let mut buckets = vec![0; 21];
        (buckets[10], buckets[20]) = (990, 9);
        for second in 0..11 {
            for (name, sum) in [
                ("ggml/sched-compute", 15_000_000),
                ("llama/graph", 14_000_000),
            ] {
                let event = window(name, second, &buckets, sum);
                let tracer_event::Body::OperationHistogram(window) = &event.body else {
                    panic!("it was made as one");
                };
                text.extend(operations.add(&event, window, Palette::PLAIN));
            }
        }
        text.push_str(&operations.end(Palette::PLAIN));
        insta::assert_snapshot!(text);
    }
}
