//! What a request demands of a target, which traits a target has, and why a target is excluded. A trait that is not
//! configured excludes no target, except where it decides where data may go.

/// The configured traits of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traits {
    /// Its provider's name.
    pub provider: String,
    /// `provider/model`.
    pub label: String,
    /// Region of its provider; `None` = not known.
    pub region: Option<String>,
    /// What its provider promises about the data it is sent.
    pub tags: Vec<String>,
    pub abilities: Abilities,
}

/// What a model can do; `None` = not known, so it excludes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// Context window: tokens of prompt and response together.
    pub context_tokens: Option<u64>,
    /// It accepts tools.
    pub tools: Option<bool>,
    /// It accepts images.
    pub vision: Option<bool>,
    /// It can produce output that conforms to a JSON schema.
    pub schema: Option<bool>,
    pub streaming: Option<bool>,
}

/// What a request needs a model to be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// The request offers tools.
    pub tools: bool,
    /// It contains images.
    pub images: bool,
    /// It wants output that conforms to a JSON schema.
    pub schema: bool,
    /// It wants a stream.
    pub streams: bool,
}

/// Tag of a provider that does not collect prompts. A request demands it with OpenRouter's `data_collection: "deny"`.
pub(crate) const NO_COLLECTION: &str = "no-collection";

/// What a request and its key demand of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Demand<'d> {
    /// Estimated tokens of the request's text.
    pub tokens: u64,
    pub needs: Needs,
    /// Regions that the key allows; empty = all.
    pub key_regions: &'d [String],
    /// Regions that the request allows; empty = all.
    pub regions: Vec<String>,
    /// Tags that the key requires of a provider.
    pub key_tags: &'d [String],
    /// The request requires [`NO_COLLECTION`].
    pub no_collection: bool,
    /// Providers that the request may be sent to because of what they store or do not store; `None` = all.
    pub storing_providers: Option<Vec<String>>,
    /// If not empty: the only targets that the request may be sent to, each a provider or `provider/model`.
    pub only: Vec<String>,
    /// Targets that the request may not be sent to.
    pub ignored: Vec<String>,
    /// Targets that are tried before the others, in this order.
    pub first: Vec<String>,
}

/// Why a request may not be sent to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// The request names other targets.
    NotNamed,
    /// The request ignores it.
    Ignored,
    /// A rule of the model names other targets.
    Rule,
    /// It belongs to another arm of the experiment.
    OtherArm,
    /// It belongs to a canary that was rolled back.
    RolledBack,
    /// It is not in an allowed region, or its region is not known.
    Region,
    /// Its provider does not make the required promises about data.
    Tags,
    /// Its provider does not store the response that the request continues, or stores none.
    State,
    /// It does not accept tools.
    Tools,
    /// It does not accept images.
    Vision,
    /// It cannot produce output that conforms to a JSON schema.
    Schema,
    /// It does not stream.
    Streaming,
    /// The request is estimated to be longer than its context window.
    Context,
}

impl Exclusion {
    /// Its name in messages, the log and `explain`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotNamed => "not-named",
            Self::Ignored => "ignored",
            Self::Rule => "rule",
            Self::OtherArm => "arm",
            Self::RolledBack => "rolled-back",
            Self::Region => "region",
            Self::Tags => "tags",
            Self::State => "state",
            Self::Tools => "tools",
            Self::Vision => "vision",
            Self::Schema => "schema",
            Self::Streaming => "streaming",
            Self::Context => "context",
        }
    }
}

impl Traits {
    /// Whether `name` is its provider's name, or its own name as `provider/model`.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.provider == name || self.label == name
    }
}

/// Why the request may not be sent to this target; `None` if it may. Reasons that concern where data may go are checked
/// first.
#[must_use]
pub(crate) fn exclusion(traits: &Traits, demand: &Demand<'_>) -> Option<Exclusion> {
    let abilities = &traits.abilities;
    let is_named = |names: &[String]| names.iter().any(|name| traits.is_called(name));
    let is_in = |allowed: &[String]| {
        let region = traits.region.as_ref();
        allowed.is_empty() || region.is_some_and(|region| allowed.contains(region))
    };
    let has = |tag: &str| traits.tags.iter().any(|name| name == tag);
    let meets_data_rules =
        demand.key_tags.iter().all(|tag| has(tag)) && (!demand.no_collection || has(NO_COLLECTION));
    let lacks = |needs: bool, can: Option<bool>| needs && can == Some(false);
    let is_too_long = || {
        let window = abilities.context_tokens;
        window.is_some_and(|window| demand.tokens > window)
    };
    let found = [
        (
            !is_in(demand.key_regions) || !is_in(&demand.regions),
            Exclusion::Region,
        ),
        (!meets_data_rules, Exclusion::Tags),
        (
            !demand.only.is_empty() && !is_named(&demand.only),
            Exclusion::NotNamed,
        ),
        (is_named(&demand.ignored), Exclusion::Ignored),
        (
            demand
                .storing_providers
                .as_ref()
                .is_some_and(|names| !names.contains(&traits.provider)),
            Exclusion::State,
        ),
        (lacks(demand.needs.tools, abilities.tools), Exclusion::Tools),
        (
            lacks(demand.needs.images, abilities.vision),
            Exclusion::Vision,
        ),
        (
            lacks(demand.needs.schema, abilities.schema),
            Exclusion::Schema,
        ),
        (
            lacks(demand.needs.streams, abilities.streaming),
            Exclusion::Streaming,
        ),
        (is_too_long(), Exclusion::Context),
    ];
    let first = found.into_iter().find(|(applies, _)| *applies);
    first.map(|(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Traits {
        Traits {
            provider: "azure-eu".into(),
            label: "azure-eu/gpt-4o".into(),
            region: Some("eu".into()),
            tags: vec!["zdr".into()],
            abilities: Abilities {
                context_tokens: Some(1000),
                tools: Some(true),
                vision: Some(false),
                ..Abilities::default()
            },
        }
    }

    #[test]
    fn unknown_traits_exclude_nothing_except_where_data_may_go() {
        let demand = Demand {
            needs: Needs {
                tools: true,
                images: true,
                schema: true,
                streams: true,
            },
            tokens: u64::MAX,
            ..Demand::default()
        };
        assert_eq!(exclusion(&Traits::default(), &demand), None);
        let eu = ["eu".to_owned()];
        let demand = Demand {
            key_regions: &eu,
            ..Demand::default()
        };
        assert_eq!(exclusion(&target(), &demand), None);
        let nowhere = Traits::default();
        assert_eq!(exclusion(&nowhere, &demand), Some(Exclusion::Region));
        let demand = Demand {
            key_tags: &eu,
            ..Demand::default()
        };
        assert_eq!(exclusion(&nowhere, &demand), Some(Exclusion::Tags));
    }

    #[test]
    fn each_demand_excludes_for_its_own_reason() {
        type Change = fn(&mut Demand<'_>);
        let cases: [(Change, Option<Exclusion>); 12] = [
            (|_| {}, None),
            (|demand| demand.needs.tools = true, None),
            (|demand| demand.needs.images = true, Some(Exclusion::Vision)),
            (|demand| demand.tokens = 1000, None),
            (|demand| demand.tokens = 1001, Some(Exclusion::Context)),
            (|demand| demand.no_collection = true, Some(Exclusion::Tags)),
            (|demand| demand.only = vec!["azure-eu".into()], None),
            (|demand| demand.only = vec!["azure-eu/gpt-4o".into()], None),
            (
                |demand| demand.storing_providers = Some(vec!["azure-eu".into()]),
                None,
            ),
            (
                |demand| demand.storing_providers = Some(Vec::new()),
                Some(Exclusion::State),
            ),
            (
                |demand| demand.only = vec!["gpt-4o".into()],
                Some(Exclusion::NotNamed),
            ),
            (
                |demand| demand.ignored = vec!["azure-eu".into()],
                Some(Exclusion::Ignored),
            ),
        ];
        for (change, expected) in cases {
            let mut demand = Demand::default();
            change(&mut demand);
            assert_eq!(exclusion(&target(), &demand), expected, "{demand:?}");
        }
        // A caller cannot widen what its key allows.
        let both = ["us".to_owned(), "eu".to_owned()];
        let demand = Demand {
            key_regions: &both,
            regions: vec!["us".into()],
            ..Demand::default()
        };
        assert_eq!(exclusion(&target(), &demand), Some(Exclusion::Region));
    }
}
