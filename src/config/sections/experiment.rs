//! `[models.experiment]`: arms that share a model's requests, as the user wrote them.
//!
//! It must not know the rest of a model's section (`lists.rs`).

use crate::config::defaults;
use crate::config::limits;
use crate::config::model::config::{Target, TargetLocation};
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section, suggest};
use crate::config::values;

/// An experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// Its name; another one draws anew.
    pub name: String,
    /// Who stays in an arm.
    pub subject: Subject,
    /// When all targets of the arm failed, the other targets are asked.
    pub fails_over: bool,
    /// Arms serve each other's cached answers.
    pub shares_cache: bool,
    /// Its arms, in the order of the file.
    pub arms: Vec<Arm>,
}

/// An arm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arm {
    /// Its name, unique in the experiment.
    pub name: String,
    /// Relative share.
    pub weight: u32,
    /// Places of its targets among the model's.
    pub targets: Vec<usize>,
    /// It is rolled back when it does worse than the others.
    pub canary: bool,
}

/// `subject`: who stays in an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The session if a header names one, else the virtual key; as the policy `sticky` has it.
    SessionOrKey,
    /// The session; a request without one goes anywhere.
    Session,
    /// No subject: each request goes anywhere.
    Request,
}

/// The names by which targets are called: provider, and `provider/model`.
pub(crate) type TargetNames = Vec<(String, String)>;

/// The names of `targets`; `providers` in the order of the file.
pub(crate) fn called(targets: &[Target], providers: &[String]) -> TargetNames {
    let name = |target: &Target| match target.place {
        TargetLocation::Local => "local".to_owned(),
        TargetLocation::Provider(at) => providers.get(at).cloned().unwrap_or_default(),
    };
    let names = targets.iter().map(|target| {
        let provider = name(target);
        let label = format!("{provider}/{}", target.model);
        (provider, label)
    });
    names.collect()
}

/// Places of the targets that `item` names.
pub(crate) fn places(item: &Item<'_>, called: &TargetNames) -> Result<Vec<usize>, Complaint> {
    let text = item.text()?;
    let named = called.iter().enumerate();
    let found = named.filter(|(_, (provider, label))| provider == text || label == text);
    let found: Vec<usize> = found.map(|(at, _)| at).collect();
    // Without names a target is wrong, which is told there.
    if !found.is_empty() || called.is_empty() {
        return Ok(found);
    }
    Err(Complaint::new(
        format!("this model has no target `{text}`"),
        suggest(text, || called.iter().map(|(_, label)| label.as_str())),
    ))
}

/// The section, if there is one; `called` is empty where a target of the model is wrong.
pub(crate) fn read(mut section: Section<'_>, called: &TargetNames) -> Option<Experiment> {
    if !section.is_present() {
        return None;
    }
    let name = section.require(
        "name",
        "name the experiment, e.g. `name = \"smaller-model\"`; metrics show it",
        |item| Ok(values::name(item.text()?)?.to_owned()),
    );
    let subject = section.choice(
        "subject",
        defaults::EXPERIMENT_SUBJECT,
        &[
            ("session-or-key", Subject::SessionOrKey),
            ("session", Subject::Session),
            ("request", Subject::Request),
        ],
    );
    let fails_over = section.choice(
        "failover",
        defaults::EXPERIMENT_FAILS_OVER,
        &[("others", true), ("none", false)],
    );
    let shares_cache = section.flag("share_cache", defaults::EXPERIMENT_SHARES_CACHE);
    if section.item("arms").is_none() {
        let remedy = "add at least two, e.g. `arms = [{ name = \"a\", targets = [\"openai\"], weight = 90 }, …]`";
        section.complain("arms", Complaint::new("missing", remedy));
    }
    let mut arms: Vec<Arm> = Vec::new();
    let mut is_whole = true;
    for part in section.sections("arms", &limits::ARMS) {
        let arm = arm(part, &arms, called);
        is_whole &= arm.is_some();
        arms.extend(arm);
    }
    if is_whole && !arms.is_empty() && !arms.iter().any(|arm| !arm.canary && arm.weight > 0) {
        let what = "no arm is left to compare a canary with, and to take its requests";
        let remedy = "let one arm have a weight above 0 and no `canary = true`";
        section.complain("arms", Complaint::new(what, remedy));
    }
    section.finish();
    Some(Experiment {
        name: name?,
        subject,
        fails_over,
        shares_cache,
        arms,
    })
}

fn arm(mut section: Section<'_>, before: &[Arm], called: &TargetNames) -> Option<Arm> {
    let name = section.require(
        "name",
        "name the arm; metrics, log and `x-ringside-route` show it",
        |item| {
            let name = values::name(item.text()?)?;
            if before.iter().any(|arm| arm.name == name) {
                let what = format!("another arm is called `{name}` too");
                return Err(Complaint::new(what, "give each arm a name of its own"));
            }
            Ok(name.to_owned())
        },
    );
    let missing = section.item("targets").is_none();
    let targets = section.list("targets", &limits::ARM_TARGETS, |item| places(item, called));
    if missing {
        let remedy = "name targets of this model, each a provider or `provider/model`";
        section.complain("targets", Complaint::new("missing", remedy));
    }
    let weight = section.number("weight", defaults::ARM_WEIGHT, &limits::ARM_WEIGHT);
    let canary = section.flag("canary", defaults::ARM_CANARY);
    section.finish();
    let mut targets: Vec<usize> = targets?.into_iter().flatten().collect();
    targets.sort_unstable();
    targets.dedup();
    Some(Arm {
        name: name?,
        weight,
        targets,
        canary,
    })
}
