//! The plot: a bar for each median, with a line from the 25th to the 75th percentile.

use std::fmt::Write;

use crate::table::{Row, Table};

const LABELS: f64 = 250.0;
const BARS: f64 = 430.0;
const WIDTH: f64 = LABELS + BARS + 140.0;
const ROW: f64 = 24.0;
const TOP: f64 = 44.0;
/// The bars end here, as multiples of the first row's: what takes longer gets a broken one.
const LONGEST: f64 = 2.2;

/// Colours for both kinds of pages on which it may stand.
const STYLE: &str = "
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.note { fill: #59636e; font-size: 12px }
.floor { fill: #8c959f } .ours { fill: #0969da } .other { fill: #d4a72c }
.spread { stroke: #1f2328; stroke-width: 1.5 } .guide { stroke: #8c959f; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #9198a1 }
  .floor { fill: #656c76 } .ours { fill: #4493f8 } .other { fill: #9e6a03 }
  .spread { stroke: #e6edf3 } .guide { stroke: #656c76 }
}";

/// The height of so many rows.
fn rows(count: usize) -> f64 {
    ROW * f64::from(u32::try_from(count).expect("few"))
}

pub fn bars(table: &Table) -> String {
    let unit = table.rows[0].time.median * LONGEST / BARS;
    let height = TOP + rows(table.rows.len()) + 12.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>{}</title>\n<style>{STYLE}\n</style>\n\
         <text x=\"8\" y=\"20\">{}, in microseconds</text>\n\
         <text x=\"8\" y=\"36\" class=\"note\">Median; the line is p25–p75; × is the ratio, round by round, to the floor that stands above.</text>\n",
        table.title, table.title
    );
    let guide = LABELS + BARS / LONGEST;
    let (from, to) = (TOP, height - 10.0);
    _ = writeln!(
        svg,
        "<line class=\"guide\" x1=\"{guide:.1}\" y1=\"{from}\" x2=\"{guide:.1}\" y2=\"{to}\"/>"
    );
    for (index, row) in table.rows.iter().enumerate() {
        bar(&mut svg, row, unit, TOP + rows(index));
    }
    svg + "</svg>\n"
}

fn bar(svg: &mut String, row: &Row, unit: f64, top: f64) {
    let Row {
        name, time, ratio, ..
    } = row;
    let kind = match name {
        name if name.contains("floor") => "floor",
        name if name.starts_with("ours") => "ours",
        _ => "other",
    };
    let length = |value: f64| (value / unit).min(BARS);
    let (middle, text) = (top + ROW / 2.0, top + ROW / 2.0 + 4.5);
    let end = LABELS + length(time.median);
    let broken = if time.median / unit > BARS { " »" } else { "" };
    _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{text}\" text-anchor=\"end\">{name}</text>",
        LABELS - 8.0
    );
    _ = writeln!(
        svg,
        "<rect class=\"{kind}\" x=\"{LABELS}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\" rx=\"2\"/>",
        top + 3.0,
        length(time.median),
        ROW - 6.0
    );
    if broken.is_empty() {
        let (from, to) = (LABELS + length(time.p25), LABELS + length(time.p75));
        _ = writeln!(
            svg,
            "<line class=\"spread\" x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\"/>"
        );
    }
    let after = end.max(LABELS + length(time.p75)) + 6.0;
    let label = format!("{:.0} ({:.2}×){broken}", time.median, ratio.median);
    _ = writeln!(svg, "<text x=\"{after:.1}\" y=\"{text}\">{label}</text>");
}
