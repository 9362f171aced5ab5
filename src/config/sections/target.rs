//! Targets of a model: where it is served, and what each can do.

use crate::config::context::Context;
use crate::config::key::key;
use crate::config::limits::{Bounds, CONTEXT_TOKENS};
use crate::config::names::{LOCAL, LOCAL_MODEL};
use crate::config::notation::{Notation, flag, name, number, written};
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section};
use crate::config::settings::{flattened, settings};
use crate::config::suggest::suggest;

settings! {
    /// One entry of `targets`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Target checked by fill_in_model {
        /// `local` = the embedding model in this process
        pub location: TargetLocation = key("provider", location())
            .required("add the name of a provider, or `local` for the embedding model in this process");
        /// name sent to the provider
        pub model: String = key("model", name())
            .default_shown(String::new(), "the model's `name`; for `local`, `\"all-MiniLM-L6-v2\"`");
        // Equal shares.
        /// relative share, for `weighted`, `least-outstanding` and `sticky`
        pub weight: u32 = key("weight", number(Bounds::new("WEIGHT", 1, 1_000_000))).default(WEIGHT);
        // All targets alike; 0 stays free for a target that is tried before them.
        /// lower is tried first, whatever the policy, which orders those of equal priority
        pub priority: u32 = key("priority", number(Bounds::new("PRIORITY", 0, 1000))).default(PRIORITY);
        /// What it can do.
        pub abilities: Abilities = flattened::<Abilities>();
    }
}

settings! {
    /// What a target can do; `None` = unknown, so allowed.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Abilities {
        /// whether it takes tools
        pub tools: Option<bool> = key("tools", flag()).optional("unknown, so allowed");
        /// whether it takes images
        pub vision: Option<bool> = key("vision", flag()).optional("unknown, so allowed");
        /// whether it takes a JSON schema for its answer
        pub schema: Option<bool> = key("schema", flag()).optional("unknown, so allowed");
        /// whether it takes `stream`
        pub streaming: Option<bool> = key("streaming", flag()).optional("unknown, so allowed");
        /// tokens of its context window: prompt and answer together
        pub context: Option<u64> = key("context", number(CONTEXT_TOKENS)).optional("unknown, so allowed");
    }
}

const WEIGHT: u32 = 1;
const PRIORITY: u32 = 1;

/// Where a target is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetLocation {
    /// By the provider with this index in `Config::providers`.
    Provider(usize),
    /// By the embedding model in this process (`provider = "local"`).
    Local,
}

impl Target {
    /// A target with the defaults of all other keys.
    pub(crate) fn new(location: TargetLocation, model: String) -> Self {
        Self {
            location,
            model,
            weight: WEIGHT,
            priority: PRIORITY,
            abilities: Abilities::default(),
        }
    }
}

fn fill_in_model(target: &mut Target, section: &Section<'_>, context: &Context<'_>) {
    if section.peek("model").is_some() {
        return;
    }
    target.model = match target.location {
        TargetLocation::Local => LOCAL_MODEL.to_owned(),
        TargetLocation::Provider(_) => context.model().name.clone(),
    };
}

fn location() -> Notation<TargetLocation> {
    written("a provider's `name`, or `local`", |item, context| {
        let name = item.text()?;
        if name == LOCAL {
            return Ok(TargetLocation::Local);
        }
        let index = context.names.provider(name);
        index.map(TargetLocation::Provider).ok_or_else(|| {
            Complaint::new(
                format!("there is no provider `{name}`"),
                suggest(name, || context.names.provider_names().chain([LOCAL])),
            )
        })
    })
}

/// Indices of the targets of the model that `item` names, as a provider or `provider/model`.
pub(crate) fn target_indices(
    item: &Item<'_>,
    context: &Context<'_>,
) -> Result<Vec<usize>, Complaint> {
    let text = item.text()?;
    let targets = &context.model().targets;
    let named = targets.iter().enumerate();
    let found = named.filter(|(_, target)| target.provider == text || target.label == text);
    let found: Vec<usize> = found.map(|(index, _)| index).collect();
    // Without names a target is wrong, and that is reported there.
    if !found.is_empty() || targets.is_empty() {
        return Ok(found);
    }
    let labels = || targets.iter().map(|target| target.label.as_str());
    Err(Complaint::new(
        format!("this model has no target `{text}`"),
        suggest(text, labels),
    ))
}
