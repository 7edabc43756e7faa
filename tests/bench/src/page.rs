//! The report as one HTML file: a table, and for each row a plot of what was measured. It loads
//! nothing, so that it can be sent, kept and opened anywhere.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    path::Path,
};

use anyhow::{Context, Result};

use crate::{
    report::{Report, Took, bar_text, figure, interval_text},
    row::{Bar, Row, Verdict},
};

/// Writes `report` as a page.
///
/// # Errors
/// If the file or its folder cannot be written.
pub fn write(report: &Report, file: &Path) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let page = Page(report).to_string();
    fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c1c1c;--paper:#fff;--faint:#8a8a8a;--line:#ddd;\
--good:#1a7f37;--bad:#c62828;--open:#9a6700;--dot:#2962a8}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--paper:#161616;--faint:#8f8f8f;\
--line:#333;--good:#4cc06a;--bad:#ff7b72;--open:#e0a83a;--dot:#79b0f0}}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);\
max-width:76rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}\
p.machine{color:var(--faint)}\
div.wide{overflow-x:auto}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);\
vertical-align:middle}\
th{font-weight:600;color:var(--faint)}\
td.number{font-variant-numeric:tabular-nums;white-space:nowrap}\
td.note{color:var(--faint);font-size:.85rem}\
.PASS{color:var(--good);font-weight:600}.FAIL{color:var(--bad);font-weight:600}\
.INCONCLUSIVE{color:var(--open);font-weight:600}\
svg{display:block}svg .axis{stroke:var(--line)}svg .range{stroke:var(--dot);stroke-width:3}\
svg .median{stroke:var(--ink);stroke-width:2}svg .value{fill:var(--dot);fill-opacity:.35}\
svg text{fill:var(--faint);font-size:11px}svg .end{text-anchor:end}\
svg .bar{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:3 2}";

struct Page<'a>(&'a Report);

impl Display for Page<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Report {
            machine,
            quick,
            rows,
            left_out,
            took,
        } = self.0;
        write!(
            formatter,
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>tracer, measured</title>\n<style>{STYLE}</style>\n<h1>tracer, measured</h1>\n\
             <p class=\"machine\">{}</p>\n",
            Text(&machine.to_string())
        )?;
        if *quick {
            formatter.write_str("<p>A quick run: few repetitions, which prove little.</p>\n")?;
        }
        formatter.write_str(
            "<p>In each plot: every repetition (dots), the 95 % interval of their median (thick), \
             the median (upright), and the bar (dashed). Repeat it with \
             <code>cargo xtask bench</code>.</p>\n",
        )?;
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
        writeln!(
            formatter,
            "<p>{} bars hold, {} do not, {} are inconclusive; {} rows have none.</p>",
            count(Verdict::Pass),
            count(Verdict::Fail),
            count(Verdict::Inconclusive),
            count(Verdict::Shown),
        )?;
        for rows in rows.chunk_by(|one, next| one.group == next.group) {
            group(formatter, rows, took)?;
        }
        if !left_out.is_empty() {
            formatter.write_str("<h2>Not compared</h2>\n<ul>\n")?;
        }
        for left in left_out {
            let text = format!("{}, {}: {}", left.group, left.peer, left.reason);
            writeln!(formatter, "<li>{}</li>", Text(&text))?;
        }
        if !left_out.is_empty() {
            formatter.write_str("</ul>\n")?;
        }
        formatter.write_str("</html>\n")
    }
}

fn group(formatter: &mut Formatter<'_>, rows: &[Row], took: &[Took]) -> fmt::Result {
    let name = rows.first().map_or("", |row| row.group);
    writeln!(formatter, "<h2>{}</h2>", Text(name))?;
    if let Some(took) = took.iter().find(|took| took.group == name) {
        let Took { about, seconds, .. } = took;
        writeln!(
            formatter,
            "<p>{}. Measured in {seconds} s.</p>",
            Text(about)
        )?;
    }
    formatter.write_str(
        "<div class=\"wide\"><table>\n<tr><th>what<th>median<th>95 % interval<th>n<th>bar\
         <th>verdict<th>repetitions<th></tr>\n",
    )?;
    for row in rows {
        let verdict = match row.verdict {
            Verdict::Shown => "",
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Inconclusive => "INCONCLUSIVE",
        };
        writeln!(
            formatter,
            "<tr><td>{}<td class=\"number\">{} {}<td class=\"number\">{}<td class=\"number\">{}\
             <td class=\"number\">{}<td class=\"{verdict}\">{verdict}<td>{}<td class=\"note\">{}</tr>",
            Text(&row.name),
            figure(row.median),
            Text(row.unit),
            interval_text(row),
            row.values.len(),
            Text(&bar_text(row)),
            Plot(row),
            Text(&row.note),
        )?;
    }
    formatter.write_str("</table></div>\n")
}

/// Where a row's repetitions lie, and its bar.
struct Plot<'a>(&'a Row);

impl Plot<'_> {
    const WIDTH: f64 = 220.0;
    const HEIGHT: f64 = 22.0;
    /// Of the line below with the values at both ends.
    const LEGEND: f64 = 13.0;
    /// Left and right of the outermost mark.
    const MARGIN: f64 = 6.0;
}

impl Display for Plot<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let row = self.0;
        let limit = match row.bar {
            Bar::AtMost(limit) | Bar::AtLeast(limit) | Bar::IntervalAbove(limit) => Some(limit),
            Bar::None => None,
        };
        let marks = row.values.iter().copied().chain(limit);
        let (least, most) = marks
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), mark| {
                (least.min(mark), most.max(mark))
            });
        // All the same: one upright in the middle.
        let scale = (Self::WIDTH - 2.0 * Self::MARGIN) / (most - least);
        let place = |value: f64| match scale.is_finite() {
            true => Self::MARGIN + (value - least) * scale,
            false => Self::WIDTH / 2.0,
        };
        let (width, height, middle) = (Self::WIDTH, Self::HEIGHT, Self::HEIGHT / 2.0);
        write!(
            formatter,
            "<svg width=\"{width}\" height=\"{}\" role=\"img\" aria-label=\"{} repetitions \
             from {} to {}\"><line class=\"axis\" x1=\"0\" x2=\"{width}\" y1=\"{middle}\" \
             y2=\"{middle}\"/>",
            height + Self::LEGEND,
            row.values.len(),
            figure(least),
            figure(most),
        )?;
        for &value in &row.values {
            let x = place(value);
            write!(
                formatter,
                "<circle class=\"value\" cx=\"{x:.1}\" cy=\"{middle}\" r=\"3\"/>"
            )?;
        }
        let (low, high) = (place(row.interval.low), place(row.interval.high));
        write!(
            formatter,
            "<line class=\"range\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle}\" \
             y2=\"{middle}\"/>"
        )?;
        let mut upright = |class: &str, value: f64| {
            let x = place(value);
            write!(
                formatter,
                "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"3\" y2=\"{}\"/>",
                height - 3.0
            )
        };
        upright("median", row.median)?;
        if let Some(limit) = limit {
            upright("bar", limit)?;
        }
        let bottom = height + Self::LEGEND - 2.0;
        if least < most {
            write!(
                formatter,
                "<text x=\"0\" y=\"{bottom}\">{}</text><text class=\"end\" x=\"{width}\" \
                 y=\"{bottom}\">{}</text>",
                figure(least),
                figure(most)
            )?;
        }
        formatter.write_str("</svg>")
    }
}

/// Text whose characters mean nothing to HTML.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                other => write!(formatter, "{other}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{machine::Machine, peer::LeftOut};

    fn report(values: Vec<f64>) -> Report {
        let row = Row::judge(
            "group",
            "a < b & \"c\"",
            "x",
            values,
            Bar::AtMost(1.5),
            "note",
        );
        Report {
            machine: Machine::describe(),
            quick: false,
            rows: vec![row.expect("values are numbers")],
            left_out: vec![LeftOut {
                group: "group",
                peer: "peer".to_owned(),
                reason: "not <here>".to_owned(),
            }],
            took: Vec::new(),
        }
    }

    #[test]
    fn names_and_reasons_are_text_and_never_markup() {
        let page = Page(&report(vec![1.0, 1.2])).to_string();
        assert!(page.contains("a &lt; b &amp; &quot;c&quot;"));
        assert!(page.contains("not &lt;here&gt;"));
        assert!(!page.contains("<here>"));
    }

    #[test]
    fn the_bar_and_every_repetition_lie_within_the_plot() {
        for values in [vec![1.0, 1.2, 1.1], vec![1.5], vec![3.0, 3.0]] {
            let count = values.len();
            let page = Page(&report(values)).to_string();
            assert_eq!(page.matches("<circle").count(), count);
            assert!(page.contains("class=\"bar\""));
            for place in page
                .split("x1=\"")
                .skip(1)
                .chain(page.split("cx=\"").skip(1))
            {
                let number = place.split('"').next().expect("an attribute ends");
                let x: f64 = number.parse().expect("a place is a number");
                assert!((0.0..=Plot::WIDTH).contains(&x), "{x}");
            }
        }
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = Page(&report(vec![1.0])).to_string();
        for word in ["http:", "https:", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
