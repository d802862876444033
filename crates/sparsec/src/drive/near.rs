//! Names that a user may have meant.

/// Names to suggest.
const NEAR: usize = 3;

/// The few of `all` that are most like `name`.
pub fn near<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let close = |n: &'a str| {
        let contains = !name.is_empty() && (n.contains(name) || name.contains(n) && n.len() > 2);
        let d = if contains { n.len().abs_diff(name.len()) / 4 } else { distance(name, n) };
        (d <= name.chars().count().max(3) / 2).then_some((d, n))
    };
    let mut near: Vec<(usize, &str)> = all.filter_map(close).collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(NEAR).map(|(_, n)| format!("`{n}`")).collect()
}

/// Letters to change, insert or drop on the way from `a` to `b` (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("a", "a")), (3, 3, 0));
    }
}
