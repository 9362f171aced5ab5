//! What a request demands of a target, what is known of a target, and why one is left out. What is
//! not known of a target is no reason to leave it out, except where its data may not go there.

/// What is known of a target beside how it does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traits {
    /// Its provider's name.
    pub provider: String,
    /// `provider/model`.
    pub label: String,
    /// Where it is.
    pub region: Option<String>,
    /// What its provider promises about data.
    pub tags: Vec<String>,
    /// What it can do.
    pub abilities: Abilities,
}

/// What a model can do; `None` = not known, so allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// Tokens of prompt and answer together.
    pub context_tokens: Option<u64>,
    /// It takes tools.
    pub tools: Option<bool>,
    /// It takes images.
    pub vision: Option<bool>,
    /// It answers by a JSON schema.
    pub schema: Option<bool>,
    /// It streams.
    pub streaming: Option<bool>,
}

/// What a request needs a model to be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// The request offers tools.
    pub tools: bool,
    /// It holds images.
    pub images: bool,
    /// It wants output that conforms to a JSON schema.
    pub schema: bool,
    /// It wants a stream.
    pub streams: bool,
}

/// Tag of a provider that keeps no prompts for itself: OpenRouter's `data_collection: "deny"`.
pub(crate) const NO_COLLECTION: &str = "no-collection";

/// What a request demands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Demand<'d> {
    /// Estimated tokens of its text.
    pub tokens: u64,
    /// What the model must be able to do.
    pub needs: Needs,
    /// Regions that the key allows; empty = all.
    pub key_regions: &'d [String],
    /// Regions that the request allows; empty = all.
    pub regions: Vec<String>,
    /// Tags that the key demands of a provider.
    pub key_tags: &'d [String],
    /// The request demands [`NO_COLLECTION`].
    pub no_collection: bool,
    /// Providers that may be asked, for what they keep or do not keep; `None` = all.
    pub keepers: Option<Vec<String>>,
    /// If not empty: the only targets that may be asked, each a provider or `provider/model`.
    pub only: Vec<String>,
    /// Targets that may not be asked.
    pub ignored: Vec<String>,
    /// Targets to be asked before the others, in this order.
    pub first: Vec<String>,
}

/// Why a target is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// The request, or a rule, names others.
    NotNamed,
    /// The request ignores it.
    Ignored,
    /// A rule of the model names others.
    Rule,
    /// It belongs to another arm of the experiment.
    OtherArm,
    /// It belongs to a canary that was rolled back.
    RolledBack,
    /// It is not in a region that is allowed, or nobody knows where it is.
    Region,
    /// Its provider does not promise what is demanded about data.
    Tags,
    /// Its provider does not keep the answer that the request goes on from, or keeps none.
    State,
    /// It takes no tools.
    Tools,
    /// It takes no images.
    Vision,
    /// It does not answer by a JSON schema.
    Schema,
    /// It does not stream.
    Streaming,
    /// The request is estimated to be longer than its context window.
    Context,
}

impl Exclusion {
    /// Name in messages, log and `explain`.
    #[must_use]
    pub fn name(self) -> &'static str {
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
    /// Whether `name` means this target: its provider's name, or `provider/model`.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.provider == name || self.label == name
    }
}

/// Why this target may not be asked; `None` if it may. Where data may go comes first.
#[must_use]
pub(crate) fn exclusion(traits: &Traits, demand: &Demand<'_>) -> Option<Exclusion> {
    let abilities = &traits.abilities;
    let is_named = |names: &[String]| names.iter().any(|name| traits.is_called(name));
    let is_in = |allowed: &[String]| {
        let region = traits.region.as_ref();
        allowed.is_empty() || region.is_some_and(|region| allowed.contains(region))
    };
    let has = |tag: &str| traits.tags.iter().any(|one| one == tag);
    let keeps_data_rules =
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
        (!keeps_data_rules, Exclusion::Tags),
        (
            !demand.only.is_empty() && !is_named(&demand.only),
            Exclusion::NotNamed,
        ),
        (is_named(&demand.ignored), Exclusion::Ignored),
        (
            demand
                .keepers
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
    fn what_is_unknown_is_allowed_except_where_data_may_go() {
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
    fn each_demand_has_its_reason() {
        type Change = fn(&mut Demand<'_>);
        let cases: [(Change, Option<Exclusion>); 12] = [
            (|_| {}, None),
            (|one| one.needs.tools = true, None),
            (|one| one.needs.images = true, Some(Exclusion::Vision)),
            (|one| one.tokens = 1000, None),
            (|one| one.tokens = 1001, Some(Exclusion::Context)),
            (|one| one.no_collection = true, Some(Exclusion::Tags)),
            (|one| one.only = vec!["azure-eu".into()], None),
            (|one| one.only = vec!["azure-eu/gpt-4o".into()], None),
            (|one| one.keepers = Some(vec!["azure-eu".into()]), None),
            (|one| one.keepers = Some(Vec::new()), Some(Exclusion::State)),
            (
                |one| one.only = vec!["gpt-4o".into()],
                Some(Exclusion::NotNamed),
            ),
            (
                |one| one.ignored = vec!["azure-eu".into()],
                Some(Exclusion::Ignored),
            ),
        ];
        for (change, wanted) in cases {
            let mut demand = Demand::default();
            change(&mut demand);
            assert_eq!(exclusion(&target(), &demand), wanted, "{demand:?}");
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
