//! `[models.mirror]`: a target that a share of a model's requests is sent to as well, as the user wrote it.
//!
//! It must not know the rest of a model's section (`lists.rs`).

use crate::config::defaults;
use crate::config::limits;
use crate::config::load::KnownNames;
use crate::config::model::config::{Abilities, Provider, Target, TargetLocation};
use crate::config::problem::Complaint;
use crate::config::reader::{Section, suggest};
use crate::config::values;

/// Mirrored traffic.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Where it goes.
    pub target: Target,
    /// Share of the requests.
    pub share: f64,
    /// Tokens that it may take in an hour.
    pub tokens_max: u64,
}

/// Whose answers can be compared.
#[derive(Clone, Copy)]
pub(crate) struct Comparable<'p> {
    /// The valid providers.
    pub providers: &'p [Provider],
    /// Names that are defined elsewhere.
    pub known: &'p KnownNames<'p>,
}

impl Comparable<'_> {
    /// Refuses a provider that speaks another dialect.
    fn check(&self, name: &str) -> Result<(), Complaint> {
        let provider = self.providers.iter().find(|one| one.name == name);
        let dialects = self.known.comparable;
        match provider.map(|one| one.dialect.as_str()) {
            Some(dialect) if !dialects.contains(&dialect) => Err(Complaint::new(
                format!("provider `{name}` speaks `{dialect}`, whose answers cannot be compared"),
                format!(
                    "use a provider whose dialect is one of: {}",
                    dialects.join(", ")
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// The section, if there is one; `providers` in the order of the file.
pub(crate) fn read(
    mut section: Section<'_>,
    own_name: &str,
    providers: &[String],
    comparable: Comparable<'_>,
) -> Option<Mirror> {
    if !section.is_present() {
        return None;
    }
    let names = || {
        let names = providers.iter().map(String::as_str);
        names.filter(|name| !name.is_empty())
    };
    let place = section.require(
        "provider",
        "name the provider that is being considered",
        |item| {
            let text = item.text()?;
            let index = providers.iter().position(|provider| provider == text);
            comparable.check(text)?;
            index.map(TargetLocation::Provider).ok_or_else(|| {
                let what = format!("there is no provider `{text}`");
                Complaint::new(what, suggest(text, names))
            })
        },
    );
    let model = section.read("model", |item| Ok(values::name(item.text()?)?.to_owned()));
    let share = section.read("share", |item| {
        let share = item.fraction()?;
        if (0.0..=1.0).contains(&share) {
            return Ok(share);
        }
        Err(Complaint::new(
            format!("`{share}` is not a share from 0 to 1"),
            "use a value such as 0.01: one in a hundred requests",
        ))
    });
    let tokens_max = section.number(
        "tokens_max",
        defaults::MIRROR_TOKENS_MAX,
        &limits::SAMPLE_TOKENS,
    );
    section.finish();
    Some(Mirror {
        target: Target {
            place: place?,
            model: model.unwrap_or_else(|| own_name.to_owned()),
            weight: defaults::WEIGHT,
            priority: defaults::PRIORITY,
            abilities: Abilities::default(),
        },
        share: share.unwrap_or(defaults::MIRROR_SHARE),
        tokens_max,
    })
}
