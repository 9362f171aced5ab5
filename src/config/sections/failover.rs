//! What a model does about slow and failing targets: the keys of a `[[models]]` section for that.
//!
//! It must not know the rest of that section (`lists.rs`).

use crate::config::defaults;
use crate::config::limits;
use crate::config::model::config::{Failover, Fallback, Hedge};
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section, suggest};
use crate::config::sections::admission;

/// Names of fallback models as written, to be looked up once every model was read.
pub(crate) type Named<'a> = Vec<(Item<'a>, String)>;

/// The keys of the model called `own_name`; the models they name go to `named`.
pub(crate) fn failover<'a>(
    section: &mut Section<'a>,
    own_name: &str,
    named: &mut Named<'a>,
) -> Failover {
    Failover {
        deadline: section.duration("deadline", defaults::DEADLINE, &limits::TIMEOUT),
        retries: section.number("retries", defaults::RETRIES, &limits::RETRIES),
        first_chunk_hold: section.duration(
            "first_chunk_hold",
            defaults::FIRST_CHUNK_HOLD,
            &limits::FIRST_CHUNK_HOLD,
        ),
        stale_if_error: section.duration(
            "stale_if_error",
            defaults::STALE_IF_ERROR,
            &limits::STALE_IF_ERROR,
        ),
        fallback: fallback(section.section("fallback"), own_name, named),
        hedge: hedge(section.section("hedge")),
        admission: admission::read(section.section("admission")),
    }
}

fn hedge(mut section: Section<'_>) -> Hedge {
    let hedge = Hedge {
        enabled: section.flag("enabled", defaults::HEDGE_ENABLED),
        quantile: section
            .read("quantile", |item| {
                let remedy = "use a value such as 0.95: the slowest one in twenty is late";
                within(item.fraction()?, 0.5, 0.999, "a quantile", remedy)
            })
            .unwrap_or(defaults::HEDGE_QUANTILE),
        extra_tokens_share_max: section
            .read("extra_tokens_share_max", |item| {
                let remedy = "use a value such as 0.02: two per cent more tokens at most";
                within(item.fraction()?, 0.0, 0.5, "a share", remedy)
            })
            .unwrap_or(defaults::HEDGE_EXTRA_TOKENS_SHARE_MAX),
    };
    section.finish();
    hedge
}

fn within(value: f64, min: f64, max: f64, what: &str, remedy: &str) -> Result<f64, Complaint> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let what = format!("`{value}` is not {what} from {min} to {max}");
    Err(Complaint::new(what, remedy))
}

fn fallback<'a>(mut section: Section<'a>, own_name: &str, named: &mut Named<'a>) -> Fallback {
    let mut model = |key| {
        section.read(key, |item| {
            let name = item.text()?.to_owned();
            if name == own_name {
                return Err(Complaint::new(
                    format!("`{name}` is this model itself"),
                    "name another model, one that takes what this one refuses",
                ));
            }
            named.push((item.clone(), name.clone()));
            Ok(name)
        })
    };
    let fallback = Fallback {
        context_length: model("context_length"),
        content_policy: model("content_policy"),
    };
    section.finish();
    fallback
}

/// Reports each of `named` that is no model.
pub(crate) fn check(named: Named<'_>, models: &[&str]) {
    for (item, name) in named {
        if !models.contains(&name.as_str()) {
            item.complain(Complaint::new(
                format!("there is no model `{name}`"),
                suggest(&name, || models.iter().copied()),
            ));
        }
    }
}
