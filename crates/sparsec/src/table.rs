//! Aligned columns and numbers that people read.

/// Heading of a column.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// Words, flush left.
    Text(&'static str),
    /// Numbers, flush right.
    Number(&'static str),
}

impl Column {
    fn head(self) -> &'static str {
        let (Self::Text(head) | Self::Number(head)) = self;
        head
    }
}

/// Columns of text that a person has in view.
pub(crate) fn screen() -> usize {
    const PIPE: usize = 120;
    terminal_size::terminal_size().map_or(PIPE, |(w, _)| usize::from(w.0).max(40))
}

/// [`table`] in at most `width` columns, or as many as its longest words take: texts that are too wide are broken at
/// blanks, the widest first. A word is never broken: people copy and look for names.
pub(crate) fn fitted(columns: &[Column], rows: &[Vec<String>], width: usize) -> String {
    const LEAST: usize = 12;
    let length = |s: &str| s.chars().count();
    let most =
        |c: usize, of: &dyn Fn(&str) -> usize| rows.iter().filter_map(|r| Some(of(r.get(c)?))).max().unwrap_or(0);
    let word = |s: &str| s.split(' ').map(length).max().unwrap_or(0);
    let mut widths: Vec<usize> =
        columns.iter().enumerate().map(|(c, h)| most(c, &length).max(length(h.head()))).collect();
    let least: Vec<usize> = (0..columns.len()).map(|c| most(c, &word).max(LEAST)).collect();
    let excess = |widths: &[usize]| (widths.iter().sum::<usize>() + 2 * (widths.len() - 1)).saturating_sub(width);
    while excess(&widths) > 0 {
        let wide = (0..columns.len()).filter(|c| matches!(columns[*c], Column::Text(_)) && widths[*c] > least[*c]);
        let Some(widest) = wide.max_by_key(|c| widths[*c]) else { break };
        widths[widest] -= 1;
    }
    let mut broken = Vec::new();
    for row in rows {
        let cells: Vec<Vec<String>> = row.iter().zip(&widths).map(|(cell, w)| lines(cell, *w)).collect();
        for i in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            broken.push(cells.iter().map(|c| c.get(i).cloned().unwrap_or_default()).collect());
        }
    }
    table(columns, &broken)
}

/// `text` in lines of at most `width`, broken at blanks; a word that is wider stays whole.
pub(crate) fn lines(text: &str, width: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match out.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => out.push(word.to_string()),
        }
    }
    out
}

/// A count with its noun: `1 tap`, `2 taps`.
pub(crate) fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Rows of text in columns that are as wide as they must be.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let width = |c: usize| {
        let cells = rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count());
        cells.chain(std::iter::once(columns[c].head().chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (c, cell) in cells.take(widths.len()).enumerate() {
            let pad = " ".repeat(widths[c].saturating_sub(cell.chars().count()));
            let gap = if c > 0 { "  " } else { "" };
            text += gap;
            text += &match columns[c] {
                Column::Text(_) => format!("{cell}{pad}"),
                Column::Number(_) => format!("{pad}{cell}"),
            };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut columns.iter().map(|c| c.head()));
    for r in rows {
        line(&mut r.iter().map(String::as_str));
    }
    out
}

/// A count with three significant figures: `15.8 M`.
pub(crate) fn count(n: u64) -> String {
    scaled(n as f64, 1000.0, &["", " k", " M", " G", " T", " P"], n < 1000)
}

/// A size in binary units: `1.10 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    scaled(n as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"], n < 1024)
}

/// A time from milliseconds: `3.42 ms`, `81.0 µs`.
pub(crate) fn ms(v: f64) -> String {
    match v {
        v if v >= 1000.0 => format!("{} s", figures(v / 1000.0)),
        v if v >= 0.1 || v == 0.0 => format!("{} ms", figures(v)),
        v => format!("{} µs", figures(v * 1000.0)),
    }
}

/// Three significant figures, however small the number is: `0.00123`.
pub(crate) fn significant(v: f64) -> String {
    let digits = if v == 0.0 || !v.is_finite() { 0.0 } else { (2.0 - v.abs().log10().floor()).clamp(0.0, 12.0) };
    format!("{v:.*}", digits as usize)
}

fn scaled(v: f64, base: f64, units: &[&str], whole: bool) -> String {
    if whole {
        return format!("{v}{}", units[0]);
    }
    let (mut v, mut at) = (v, 0);
    // What would be rounded up to the next unit belongs to it.
    while v >= base - 0.5 && at + 1 < units.len() {
        v /= base;
        at += 1;
    }
    format!("{}{}", figures(v), units[at])
}

/// Three significant figures, more for numbers of four digits.
fn figures(v: f64) -> String {
    match v.abs() {
        a if a < 9.995 => format!("{v:.2}"),
        a if a < 99.95 => format!("{v:.1}"),
        _ => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures_and_a_unit() {
        assert_eq!([count(999), count(1000), count(15_832_000), count(999_600)], ["999", "1.00 k", "15.8 M", "1.00 M"]);
        assert_eq!([bytes(0), bytes(1023), bytes(1_155_072)], ["0 B", "1023 B", "1.10 MiB"]);
        assert_eq!([significant(0.001_234), significant(-0.5), significant(0.0)], ["0.00123", "-0.500", "0"]);
        assert_eq!([ms(3.417), ms(0.0811), ms(12_345.0), ms(0.0)], ["3.42 ms", "81.1 µs", "12.3 s", "0.00 ms"]);
    }

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_blanks() {
        let rows = vec![vec!["a".to_string(), "12".to_string()], vec!["long".to_string(), String::new()]];
        assert_eq!(table(&[Column::Text("x"), Column::Number("n")], &rows), "x      n\na     12\nlong\n");
    }

    #[test]
    fn texts_that_are_too_wide_are_broken_at_blanks_and_nowhere_else() {
        let rows = vec![vec!["short".to_string(), "one two three, and_a_word_that_is_long".to_string()]];
        let text = fitted(&[Column::Text("x"), Column::Text("y")], &rows, 20);
        assert_eq!(text, "x      y\nshort  one two three,\n       and_a_word_that_is_long\n");
        assert!(fitted(&[Column::Text("x"), Column::Text("y")], &rows, 100).lines().count() == 2);
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([plural(0, "tap", "taps"), plural(1, "tap", "taps")], ["0 taps", "1 tap"]);
    }
}
