//! Numbers and names as people read them.

/// Three significant digits; two decimals from 0.1 up.
pub(crate) fn significant(v: f64) -> String {
    match v.abs() {
        a if a > 0.0 && a < 0.0995 => format!("{v:.*}", (2.0 - a.log10().floor()).min(12.0) as usize),
        a if a >= 99.95 => format!("{v:.0}"),
        a if a >= 9.995 => format!("{v:.1}"),
        _ => format!("{v:.2}"),
    }
}

/// `v` in the largest of `units` that keeps it at 1 or more; each unit is `base` times the one before.
fn scaled(v: f64, base: f64, units: &[&str]) -> String {
    let (mut v, mut unit) = (v, 0);
    while v.abs() >= base * 0.99995 && unit + 1 < units.len() {
        v /= base;
        unit += 1;
    }
    let number = if unit == 0 && v.fract() == 0.0 { format!("{v:.0}") } else { significant(v) };
    format!("{number} {}", units[unit]).trim_end().to_string()
}

/// A count: `1.23 M`.
pub(crate) fn count(n: u64) -> String {
    scaled(n as f64, 1e3, &["", "k", "M", "G", "T", "P", "E"])
}

/// Bytes: `1.23 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    scaled(n as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A time: `12.3 ms`.
pub(crate) fn time(ms: f64) -> String {
    scaled(ms * 1e3, 1e3, &["µs", "ms", "s", "ks"])
}

/// An energy: `1.23 mJ`.
pub(crate) fn energy(mj: f64) -> String {
    scaled(mj * 1e3, 1e3, &["µJ", "mJ", "J", "kJ"])
}

/// A share: `12.3 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The change from `before` to `after`: `−43.0 %`; nothing where there was nothing before.
pub(crate) fn change(before: f64, after: f64) -> Option<String> {
    if before == 0.0 || !before.is_finite() || !after.is_finite() {
        return None;
    }
    let percent = (after / before - 1.0) * 100.0;
    Some(match percent {
        p if p.abs() < 0.05 => "unchanged".to_string(),
        p if p < 0.0 => format!("−{:.1} %", -p),
        p => format!("+{p:.1} %"),
    })
}

/// A figure in the unit of a limit.
pub(crate) fn in_unit(v: f64, unit: &str) -> String {
    let whole = v.max(0.0).round() as u64;
    match unit {
        "ms" => time(v),
        "B" => bytes(whole),
        "mJ" => energy(v),
        "MAC" => format!("{} MACs", count(whole)),
        "" if v >= 1000.0 => count(whole),
        "" => significant(v),
        _ => format!("{} {}", significant(v), clean(unit)),
    }
}

/// Text of strangers: characters that are invisible or turn the text around become visible.
pub(crate) fn clean(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// A sentence of the tool's, in which names stand between grave accents.
pub(crate) fn prose(text: &str) -> String {
    clean(text).replace('`', "")
}

/// `text` cut to `columns`, with dots in its middle where it is longer: both ends of a layer's name tell it apart.
pub(crate) fn shorten(text: &str, columns: usize) -> String {
    let wide = |c: char| if c >= '\u{1100}' { 2 } else { 1 };
    let total: usize = text.chars().map(wide).sum();
    if total <= columns {
        return text.to_string();
    }
    let half = columns.saturating_sub(1) / 2;
    let (mut head, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += wide(c);
        if used > half {
            break;
        }
        head.push(c);
    }
    let (mut tail, mut used) = (Vec::new(), 0);
    for c in text.chars().rev() {
        used += wide(c);
        if used > half {
            break;
        }
        tail.push(c);
    }
    head.push('…');
    head.extend(tail.into_iter().rev());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!([count(0), count(999), count(1234), count(99_999)], ["0", "999", "1.23 k", "100 k"]);
        assert_eq!([count(999_999), count(1_814_073_344)], ["1.00 M", "1.81 G"]);
        assert_eq!([bytes(12), bytes(1024), bytes(47_000_000)], ["12 B", "1.00 KiB", "44.8 MiB"]);
        assert_eq!([time(0.0), time(0.0123), time(1.5), time(12_345.0)], ["0 µs", "12.3 µs", "1.50 ms", "12.3 s"]);
    }

    #[test]
    fn small_figures_of_a_metric_keep_their_digits() {
        assert_eq!([in_unit(0.001_234, "nats"), in_unit(0.0, "nats")], ["0.00123 nats", "0.00 nats"]);
        assert_eq!(in_unit(1.5, "points"), "1.50 points");
    }

    #[test]
    fn changes_are_signed_and_have_a_base() {
        assert_eq!(change(200.0, 114.0).as_deref(), Some("−43.0 %"));
        assert_eq!(change(100.0, 100.01).as_deref(), Some("unchanged"));
        assert_eq!(change(100.0, 112.0).as_deref(), Some("+12.0 %"));
        assert_eq!(change(0.0, 1.0), None);
    }

    #[test]
    fn long_names_keep_both_ends_and_their_width() {
        assert_eq!(shorten("layer1.0.conv1", 20), "layer1.0.conv1");
        assert_eq!(shorten("backbone.layer1.0.conv1", 11), "backb…conv1");
        assert_eq!(shorten("畳み込み層その一番目", 9), "畳み…番目");
    }

    #[test]
    fn invisible_and_turning_characters_become_visible() {
        assert_eq!(clean("a\u{202e}b\u{7}c\u{200b}"), "a\u{fffd}b\u{fffd}c\u{fffd}");
    }
}
