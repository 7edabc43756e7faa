//! Words and numbers for people: colours, units, and text from elsewhere made harmless.

use std::{borrow::Cow, fmt::Write as _, io::IsTerminal, time::Duration};

use anstyle::{AnsiColor, Style};

/// Escapes what would steer a terminal. Paths and names come from the traced process, which may
/// have put anything into them.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    // Bidirectional controls reorder what stands around them without being control characters.
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// A time with three digits and a fitting unit.
pub(crate) fn short_duration(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    let seconds = time.as_secs_f64();
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{} µs", three_digits(seconds * 1e6)),
        1_000_000..1_000_000_000 => format!("{} ms", three_digits(seconds * 1e3)),
        1_000_000_000..60_000_000_000 => format!("{} s", three_digits(seconds)),
        _ => {
            let whole = time.as_secs();
            match whole / 3600 {
                0 => format!("{} min {} s", whole / 60, whole % 60),
                hours => format!("{hours} h {} min", whole / 60 % 60),
            }
        }
    }
}

fn three_digits(number: f64) -> String {
    let places = match number {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{number:.places$}")
}

/// A size in binary units.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut number = bytes as f64 / 1024.0;
    let mut unit = 0;
    while number >= 1000.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(number), UNITS[unit])
}

/// A count with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut spaced = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            spaced.push(',');
        }
        spaced.push(digit);
    }
    spaced
}

/// `1 request`, `2 requests`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let mut text = format!("{} {noun}", count(number));
    if number != 1 {
        text.push('s');
    }
    text
}

/// What a piece of text is, so that it gets its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    Plain,
    /// A headline.
    Strong,
    /// What matters less.
    Faint,
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Wrong.
    Bad,
}

/// Puts colours on text, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    coloured: bool,
}

impl Palette {
    /// Without colours.
    pub(crate) const PLAIN: Self = Self { coloured: false };

    /// For a stream: colours if it is a terminal and `NO_COLOR` is unset or empty
    /// (<https://no-color.org>).
    pub(crate) fn for_stream(stream: &impl IsTerminal) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            coloured: wanted && stream.is_terminal(),
        }
    }

    /// The text in its tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.coloured || text.is_empty() {
            return text.to_owned();
        }
        let style = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => Style::new().bold(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warning => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
        };
        format!("{style}{text}{style:#}")
    }
}

/// Rows of cells, aligned in columns. Cells are padded before they are painted, so that colours
/// do not disturb the columns.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<(Tone, String)>>,
}

impl Table {
    /// A table whose first row is its heading.
    pub(crate) fn with_heading(heading: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(heading.iter().map(|cell| (Tone::Faint, (*cell).to_owned())));
        table
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (Tone, String)>) {
        let cells = cells
            .into_iter()
            .map(|(tone, cell)| (tone, printable(&cell).into_owned()));
        self.rows.push(cells.collect());
    }

    /// The lines, each with a newline.
    pub(crate) fn render(&self, palette: Palette) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (width, (_, cell)) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            for (position, ((tone, cell), width)) in row.iter().zip(&widths).enumerate() {
                text.push_str(&palette.paint(*tone, cell));
                if position + 1 < row.len() {
                    let gap = width - cell.chars().count() + 2;
                    let _ = write!(text, "{:gap$}", "");
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_steer_the_terminal() {
        assert_eq!(printable("/models/a b.gguf"), "/models/a b.gguf");
        assert_eq!(
            printable("/m\x1b]0;x\x07/\n\u{202e}"),
            "/m\\u{1b}]0;x\\u{7}/\\u{a}\\u{202e}"
        );
    }

    #[test]
    fn times_have_three_digits_and_a_fitting_unit() {
        let cases = [
            (Duration::from_nanos(999), "999 ns"),
            (Duration::from_nanos(1_500), "1.50 µs"),
            (Duration::from_micros(12_340), "12.3 ms"),
            (Duration::from_millis(123), "123 ms"),
            (Duration::from_millis(1_234), "1.23 s"),
            (Duration::from_secs(61), "1 min 1 s"),
            (Duration::from_secs(3_660), "1 h 1 min"),
        ];
        for (time, text) in cases {
            assert_eq!(short_duration(time), text);
        }
    }

    #[test]
    fn sizes_and_counts_read_at_a_glance() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1 << 20), "1.00 MiB");
        assert_eq!(size(4_683_073_536), "4.36 GiB");
        assert_eq!(size(u64::MAX), "16384 PiB");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_048_576), "1,048,576");
        assert_eq!(counted(1, "request"), "1 request");
        assert_eq!(counted(2, "request"), "2 requests");
    }

    #[test]
    fn columns_line_up_whatever_the_colours() {
        let mut table = Table::with_heading(&["PID", "RUNTIME"]);
        table.row([(Tone::Bad, "7".into()), (Tone::Good, "llama.cpp".into())]);
        assert_eq!(
            table.render(Palette::PLAIN),
            "PID  RUNTIME\n7    llama.cpp\n"
        );
        let coloured = table.render(Palette { coloured: true });
        assert!(
            coloured.contains("\x1b[1m\x1b[31m7\x1b[0m    "),
            "{coloured:?}"
        );
    }
}
