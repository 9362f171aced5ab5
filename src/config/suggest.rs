//! What the user most likely meant by a wrong name. It must not know any key.

/// Names listed in one remedy; a longer list would hide the sentence.
const NAMES_LISTED_MAX: usize = 20;

/// The remedy for a name that is not among `names`.
pub(crate) fn suggest<'n, I>(wrong: &str, names: impl Fn() -> I) -> String
where
    I: Iterator<Item = &'n str>,
{
    let mut all = names()
        .take(NAMES_LISTED_MAX)
        .collect::<Vec<_>>()
        .join(", ");
    if names().nth(NAMES_LISTED_MAX).is_some() {
        all.push_str(", …");
    }
    match nearest(wrong, names()) {
        Some(nearest) => format!("did you mean `{nearest}`? Known values: {all}"),
        None if names().count() == 1 => format!("use `{all}`, the only one there is"),
        None => format!("use one of: {all}"),
    }
}

/// The candidate that `wrong` was most likely meant to be.
pub(crate) fn nearest<'c>(
    wrong: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wrong = plain(wrong);
    let words = |text: &str| {
        let mut words: Vec<String> = text.split('_').map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    // One slip in three letters is a slip; more is another word.
    let slips_max = (wrong.chars().count() / 3).max(1);
    let slips = |candidate: &str| {
        let candidate = plain(candidate);
        let slips = strsim::damerau_levenshtein(&wrong, &candidate);
        if slips <= slips_max && slips < candidate.chars().count() {
            return Some(slips);
        }
        // `max_body` for `body_max`, `memory` for `memory_max`: worse than any slip.
        let related = words(&wrong) == words(&candidate)
            || (wrong.len() >= 3 && candidate.contains(&wrong))
            || (candidate.len() >= 3 && wrong.contains(&candidate));
        related.then_some(usize::MAX)
    };
    candidates
        .filter_map(|candidate| Some((slips(candidate)?, candidate)))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_and_swapped_words() {
        let keys = ["listen", "body_max", "head_timeout", "memory_max", "tls"];
        let nearest = |wrong| nearest(wrong, keys.iter().copied());
        assert_eq!(nearest("lisen"), Some("listen"));
        assert_eq!(nearest("Head-Timeout"), Some("head_timeout"));
        assert_eq!(nearest("max_body"), Some("body_max"));
        assert_eq!(nearest("memory"), Some("memory_max"));
        assert_eq!(nearest("wrong_hit_rate_max"), None);
        assert_eq!(nearest(""), None);
    }
}
