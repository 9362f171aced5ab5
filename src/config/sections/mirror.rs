//! `[models.mirror]`: a target that a share of a model's requests is sent to as well.

use crate::config::context::Context;
use crate::config::key::key;
use crate::config::limits::SAMPLE_TOKENS;
use crate::config::notation::{Fraction, Notation, fraction, name, number, written};
use crate::config::problem::Complaint;
use crate::config::reader::Section;
use crate::config::sections::target::{Target, TargetLocation};
use crate::config::settings::{flattened, settings};
use crate::config::suggest::suggest;

settings! {
    /// `[models.mirror]`
    #[derive(Debug, Clone, PartialEq)]
    pub struct Mirror {
        /// Where the requests are sent.
        pub target: Target = flattened::<MirrorTarget>();
        // One in a hundred requests.
        /// share of the requests
        pub share: f64 = key(
            "share",
            fraction(Fraction {
                what: "a share",
                min: 0.0,
                max: 1.0,
                remedy: "use a value such as 0.01: one in a hundred requests",
            }),
        )
        .default(0.01);
        // About a hundred answers of a thousand tokens.
        /// tokens that they may take in an hour
        pub tokens_max: u64 = key("tokens_max", number(SAMPLE_TOKENS)).default(100_000);
    }
}

settings! {
    /// The target of mirrored requests, as written.
    pub(crate) struct MirrorTarget checked by fill_in_model {
        /// a target that a share of the requests is sent to as well, to compare answers; see [routing.md](routing.md#traffic-mirroring)
        location: TargetLocation = key("provider", comparable_provider())
            .required("name the provider that is being considered");
        /// name sent to it
        model: String = key("model", name()).default_shown(String::new(), "the model's `name`");
    }
}

impl From<MirrorTarget> for Target {
    fn from(written: MirrorTarget) -> Self {
        Self::new(written.location, written.model)
    }
}

fn fill_in_model(target: &mut MirrorTarget, section: &Section<'_>, context: &Context<'_>) {
    if section.peek("model").is_none() {
        target.model.clone_from(&context.model().name);
    }
}

/// A provider whose answers can be compared with others.
fn comparable_provider() -> Notation<TargetLocation> {
    written("a provider's `name`", |item, context| {
        let text = item.text()?;
        let index = context.names.provider(text).ok_or_else(|| {
            Complaint::new(
                format!("there is no provider `{text}`"),
                suggest(text, || context.names.provider_names()),
            )
        })?;
        let dialects = context.known.comparable;
        let provider = context.names.providers.get(index);
        let dialect = provider.map_or("", |provider| provider.dialect.as_str());
        if dialects.contains(&dialect) {
            return Ok(TargetLocation::Provider(index));
        }
        Err(Complaint::new(
            format!(
                "provider `{text}` has the dialect `{dialect}`, whose answers cannot be compared"
            ),
            format!(
                "use a provider whose dialect is one of: {}",
                dialects.join(", ")
            ),
        ))
    })
}
