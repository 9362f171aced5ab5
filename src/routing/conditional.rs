//! `conditional` rules of a model: the first whose conditions a request meets says which of the targets may
//! be asked, which arm it is in, and by which policy. Pure; what a request is, is handed in.

use crate::config::sections::rules::When;

/// What is known of a request.
pub(crate) trait Known {
    /// Value of a header, as text.
    fn header(&self, name: &str) -> Option<&str>;
    /// Value of a field of the body's `metadata`, if it is text.
    fn metadata(&self, name: &str) -> Option<&str>;
    /// The virtual key.
    fn key(&self) -> Option<&str>;
    /// Its team.
    fn team(&self) -> Option<&str>;
    /// The regions that are allowed; empty = all.
    fn regions(&self) -> &[String];
    /// Estimated tokens of its prompt.
    fn prompt_tokens(&self) -> u64;
    /// Tools, images, schema, stream.
    fn needs(&self) -> [bool; 4];
}

/// The first condition that `request` does not meet; `None` if the rule applies.
#[must_use]
pub(crate) fn unmet(conditions: &When, request: &impl Known) -> Option<&'static str> {
    let is = |wanted: &[String], seen: Option<&str>| {
        wanted.is_empty() || seen.is_some_and(|seen| wanted.iter().any(|one| one == seen))
    };
    let has = |(_, wanted): &(String, String), seen: Option<&str>| {
        seen.is_some_and(|seen| wanted == "*" || wanted == seen)
    };
    let tokens = request.prompt_tokens();
    let said = [
        ("tools", conditions.tools),
        ("images", conditions.images),
        ("schema", conditions.schema),
        ("stream", conditions.stream),
    ];
    let needs = said.into_iter().zip(request.needs());
    let mut needs =
        needs.filter(|((_, wanted), seen)| wanted.is_some_and(|wanted| wanted != *seen));
    let regions = request.regions();
    let is_within = || {
        let within = |region: &String| conditions.regions.contains(region);
        !regions.is_empty() && regions.iter().all(within)
    };
    let checks: [(&'static str, bool); 6] = [
        ("key", is(&conditions.keys, request.key())),
        ("team", is(&conditions.teams, request.team())),
        ("regions", conditions.regions.is_empty() || is_within()),
        (
            "prompt_tokens_min",
            conditions.prompt_tokens_min.is_none_or(|min| tokens >= min),
        ),
        (
            "prompt_tokens_max",
            conditions.prompt_tokens_max.is_none_or(|max| tokens <= max),
        ),
        (
            "header",
            conditions
                .headers
                .iter()
                .all(|one| has(one, request.header(&one.0))),
        ),
    ];
    let failed = checks
        .into_iter()
        .find(|(_, is_met)| !is_met)
        .map(|(name, _)| name);
    let failed = failed.or_else(|| needs.next().map(|((name, _), _)| name));
    // Last: it may have to be read.
    let carries = || {
        conditions
            .metadata
            .iter()
            .all(|one| has(one, request.metadata(&one.0)))
    };
    failed.or_else(|| (!carries()).then_some("metadata"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request {
        tokens: u64,
        needs: [bool; 4],
        regions: Vec<String>,
    }

    impl Known for Request {
        fn header(&self, name: &str) -> Option<&str> {
            (name == "x-tier").then_some("gold")
        }
        fn metadata(&self, name: &str) -> Option<&str> {
            (name == "app").then_some("search")
        }
        fn key(&self) -> Option<&str> {
            Some("checkout")
        }
        fn team(&self) -> Option<&str> {
            None
        }
        fn regions(&self) -> &[String] {
            &self.regions
        }
        fn prompt_tokens(&self) -> u64 {
            self.tokens
        }
        fn needs(&self) -> [bool; 4] {
            self.needs
        }
    }

    #[test]
    fn every_condition_must_hold_and_the_first_that_does_not_is_named() {
        let request = Request {
            tokens: 100,
            needs: [true, false, false, true],
            regions: vec!["eu".into()],
        };
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        type Change<'c> = &'c dyn Fn(&mut When);
        let cases: [(Change<'_>, Option<&str>); 18] = [
            (&|_| {}, None),
            (&|one| one.keys = list(&["other", "checkout"]), None),
            (&|one| one.keys = list(&["other"]), Some("key")),
            (&|one| one.teams = list(&["payments"]), Some("team")),
            (&|one| one.headers = pair("x-tier", "gold"), None),
            (&|one| one.headers = pair("x-tier", "*"), None),
            (&|one| one.headers = pair("x-tier", "lead"), Some("header")),
            (&|one| one.headers = pair("x-other", "*"), Some("header")),
            (&|one| one.metadata = pair("app", "search"), None),
            (&|one| one.metadata = pair("app", "chat"), Some("metadata")),
            (&|one| one.prompt_tokens_min = Some(100), None),
            (
                &|one| one.prompt_tokens_min = Some(101),
                Some("prompt_tokens_min"),
            ),
            (
                &|one| one.prompt_tokens_max = Some(99),
                Some("prompt_tokens_max"),
            ),
            (&|one| one.tools = Some(true), None),
            (&|one| one.images = Some(true), Some("images")),
            (&|one| one.stream = Some(false), Some("stream")),
            (&|one| one.regions = list(&["eu", "ch"]), None),
            (&|one| one.regions = list(&["us"]), Some("regions")),
        ];
        for (change, wanted) in cases {
            let mut conditions = When::default();
            change(&mut conditions);
            assert_eq!(unmet(&conditions, &request), wanted, "{conditions:?}");
        }
        // Who may go anywhere is not confined to a region.
        let free = Request {
            regions: Vec::new(),
            ..request
        };
        let conditions = When {
            regions: list(&["eu"]),
            ..When::default()
        };
        assert_eq!(unmet(&conditions, &free), Some("regions"));
    }
}
