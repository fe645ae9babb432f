//! Find the name that was probably meant.

/// The candidate closest to `name`, if any is close enough that it was probably meant.
///
/// Whole names are compared, and last path components, so that `Mcdm` finds `IllustrisTNG/LH/Mcdm`.
pub(crate) fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    candidates
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            let whole = edits(&name, &lower);
            (whole.min(edits(&last(&name), &last(&lower))), candidate)
        })
        .min_by_key(|(distance, _)| *distance)
        // A third of the letters may be wrong; beyond that it is a guess.
        .filter(|(distance, _)| *distance <= last(&name).chars().count().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// The least number of insertions, deletions and replacements between two words (Levenshtein 1966).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
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
    fn slips_are_found_and_strangers_are_not() {
        let names = ["maps", "params", "IllustrisTNG/LH/z=0.00/Mcdm"];
        assert_eq!(closest("map", names), Some("maps"));
        assert_eq!(closest("Parms", names), Some("params"));
        assert_eq!(closest("Mcdm", names), Some(names[2]));
        assert_eq!(closest("temperature", names), None);
        assert_eq!(closest("x", []), None);
    }
}
