//! Names that somebody may have meant, and lists of names that a message can hold.

/// The most names that a message lists.
pub const LISTED: usize = 10;

/// From which likeness on a name is taken for another one misspelt (1 is the same).
pub(crate) const LIKE: f64 = 0.6;

/// Some of `names`, and how many more there are.
pub(crate) fn listed(names: Vec<String>) -> String {
    let more = match names.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names: Vec<String> = names.into_iter().take(LISTED).collect();
    if names.is_empty() { "none".to_owned() } else { format!("{}{more}", names.join(", ")) }
}

/// `; did you mean A or B?`: at most three of the names that are alike, the likest first, and as they come
/// where they are equally so; `None` if none is.
pub(crate) fn did_you_mean(scored: impl Iterator<Item = (f64, String)>) -> Option<String> {
    let mut like: Vec<(f64, String)> = scored.filter(|(likeness, _)| *likeness >= LIKE).collect();
    like.sort_by(|one, other| other.0.total_cmp(&one.0));
    let names: Vec<String> = like.into_iter().take(3).map(|(_, name)| name).collect();
    (!names.is_empty()).then(|| format!("; did you mean {}?", names.join(" or ")))
}

/// The name of `known` that is likest, if it is at least so like.
pub(crate) fn likest<'k>(
    known: impl Iterator<Item = &'k str>,
    least: f64,
    likeness: impl Fn(&str) -> f64,
) -> Option<&'k str> {
    let scored = known.map(|known| (likeness(known), known));
    let (score, known) = scored.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (score >= least).then_some(known)
}
