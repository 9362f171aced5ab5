//! The conditions of a routing rule. Pure: the attributes of a request are passed in. It must not know what a rule does when
//! it applies (`gateway/plan/rules.rs`).

use crate::routing::demand::Needs;

/// Conditions of a rule. All of them must hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    /// Header names in lower case, each with a value, or with `*` for any value.
    pub headers: Vec<(String, String)>,
    /// Fields of the body's `metadata`, each with a value, or with `*` for any value.
    pub metadata: Vec<(String, String)>,
    /// Names of virtual keys; empty = any key.
    pub keys: Vec<String>,
    /// Teams; empty = any team.
    pub teams: Vec<String>,
    /// Regions; empty = any region.
    pub regions: Vec<String>,
    pub prompt_tokens_min: Option<u64>,
    pub prompt_tokens_max: Option<u64>,
    /// Whether the request offers tools.
    pub tools: Option<bool>,
    /// Whether the request contains images.
    pub images: Option<bool>,
    /// Whether the request wants output that conforms to a JSON schema.
    pub schema: Option<bool>,
    /// Whether the request wants a stream.
    pub stream: Option<bool>,
}

/// The attributes of a request that conditions are about.
pub(crate) trait RequestAttributes {
    /// Value of a header, as text.
    fn header(&self, name: &str) -> Option<&str>;
    /// Value of a field of the body's `metadata`, if it is text.
    fn metadata(&self, name: &str) -> Option<&str>;
    /// Name of the virtual key.
    fn key(&self) -> Option<&str>;
    /// Team of the key.
    fn team(&self) -> Option<&str>;
    /// Regions that the request may be sent to; empty = all.
    fn regions(&self) -> &[String];
    /// Estimated tokens of the prompt.
    fn prompt_tokens(&self) -> u64;
    fn needs(&self) -> Needs;
}

/// The first condition that `request` does not meet; `None` if the rule applies.
#[must_use]
pub(crate) fn unmet(
    conditions: &Conditions,
    request: &impl RequestAttributes,
) -> Option<&'static str> {
    let needs = request.needs();
    let tokens = request.prompt_tokens();
    let is_need_met =
        |wanted: Option<bool>, actual: bool| wanted.is_none_or(|wanted| wanted == actual);
    let headers = &conditions.headers;
    let checks: [(&'static str, bool); 10] = [
        ("key", is_listed(&conditions.keys, request.key())),
        ("team", is_listed(&conditions.teams, request.team())),
        ("regions", is_within(&conditions.regions, request.regions())),
        (
            "prompt_tokens_min",
            conditions.prompt_tokens_min.is_none_or(|min| tokens >= min),
        ),
        (
            "prompt_tokens_max",
            conditions.prompt_tokens_max.is_none_or(|max| tokens <= max),
        ),
        ("header", all_match(headers, |name| request.header(name))),
        ("tools", is_need_met(conditions.tools, needs.tools)),
        ("images", is_need_met(conditions.images, needs.images)),
        ("schema", is_need_met(conditions.schema, needs.schema)),
        ("stream", is_need_met(conditions.stream, needs.streams)),
    ];
    let failed = checks.into_iter().find(|(_, is_met)| !is_met);
    let failed = failed.map(|(name, _)| name);
    // Metadata is checked last, because the body may have to be parsed for it.
    let has_metadata = || all_match(&conditions.metadata, |name| request.metadata(name));
    failed.or_else(|| (!has_metadata()).then_some("metadata"))
}

/// Whether `value` is in `allowed`; an empty list allows any value and none.
fn is_listed(allowed: &[String], value: Option<&str>) -> bool {
    allowed.is_empty() || value.is_some_and(|value| allowed.iter().any(|name| name == value))
}

/// Whether a request that may be sent to `regions` may be sent to no region outside of `allowed`.
fn is_within(allowed: &[String], regions: &[String]) -> bool {
    let is_confined = || regions.iter().all(|region| allowed.contains(region));
    allowed.is_empty() || (!regions.is_empty() && is_confined())
}

/// Whether each name of `wanted` has the value it is listed with; `*` stands for any value.
fn all_match<'v>(wanted: &[(String, String)], value: impl Fn(&str) -> Option<&'v str>) -> bool {
    wanted
        .iter()
        .all(|(name, pattern)| value(name).is_some_and(|value| pattern == "*" || pattern == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request {
        tokens: u64,
        needs: Needs,
        regions: Vec<String>,
    }

    impl RequestAttributes for Request {
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
        fn needs(&self) -> Needs {
            self.needs
        }
    }

    #[test]
    fn every_condition_must_hold_and_the_first_that_does_not_is_named() {
        let request = Request {
            tokens: 100,
            needs: Needs {
                tools: true,
                streams: true,
                ..Needs::default()
            },
            regions: vec!["eu".into()],
        };
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        type Change<'c> = &'c dyn Fn(&mut Conditions);
        let cases: [(Change<'_>, Option<&str>); 18] = [
            (&|_| {}, None),
            (&|wanted| wanted.keys = list(&["other", "checkout"]), None),
            (&|wanted| wanted.keys = list(&["other"]), Some("key")),
            (&|wanted| wanted.teams = list(&["payments"]), Some("team")),
            (&|wanted| wanted.headers = pair("x-tier", "gold"), None),
            (&|wanted| wanted.headers = pair("x-tier", "*"), None),
            (
                &|wanted| wanted.headers = pair("x-tier", "lead"),
                Some("header"),
            ),
            (
                &|wanted| wanted.headers = pair("x-other", "*"),
                Some("header"),
            ),
            (&|wanted| wanted.metadata = pair("app", "search"), None),
            (
                &|wanted| wanted.metadata = pair("app", "chat"),
                Some("metadata"),
            ),
            (&|wanted| wanted.prompt_tokens_min = Some(100), None),
            (
                &|wanted| wanted.prompt_tokens_min = Some(101),
                Some("prompt_tokens_min"),
            ),
            (
                &|wanted| wanted.prompt_tokens_max = Some(99),
                Some("prompt_tokens_max"),
            ),
            (&|wanted| wanted.tools = Some(true), None),
            (&|wanted| wanted.images = Some(true), Some("images")),
            (&|wanted| wanted.stream = Some(false), Some("stream")),
            (&|wanted| wanted.regions = list(&["eu", "ch"]), None),
            (&|wanted| wanted.regions = list(&["us"]), Some("regions")),
        ];
        for (change, wanted) in cases {
            let mut conditions = Conditions::default();
            change(&mut conditions);
            assert_eq!(unmet(&conditions, &request), wanted, "{conditions:?}");
        }
        // A request that may be sent anywhere does not meet a condition on regions.
        let free = Request {
            regions: Vec::new(),
            ..request
        };
        let conditions = Conditions {
            regions: list(&["eu"]),
            ..Conditions::default()
        };
        assert_eq!(unmet(&conditions, &free), Some("regions"));
    }
}
