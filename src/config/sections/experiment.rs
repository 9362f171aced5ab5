//! `[models.experiment]`: arms that share a model's requests, to be compared.

use crate::config::context::Context;
use crate::config::key::key;
use crate::config::limits::{ARM_TARGETS, Bounds};
use crate::config::notation::{
    Choices, Notation, choice, flag, list, name, number, unique_name_of, written,
};
use crate::config::problem::Complaint;
use crate::config::reader::Section;
use crate::config::sections::target::target_indices;
use crate::config::settings::{sections, settings};

settings! {
    /// `[models.experiment]`
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Experiment checked by check_arms {
        /// another name assigns callers to arms anew; see [routing.md](routing.md#experiments)
        pub name: String = key("name", name())
            .required("name the experiment, e.g. `name = \"smaller-model\"`; metrics show it");
        // As the policy `sticky` has it.
        /// who stays in an arm: session or else virtual key, session, nobody
        pub subject: Subject = key("subject", choice(Subject::CHOICES)).default(Subject::SessionOrKey);
        // A response from another arm is better than none.
        /// whether the model's other targets get the request when an arm's targets failed
        pub fails_over: bool = key("failover", choice(&[("others", true), ("none", false)])).default(true);
        // Each arm is compared by responses of its own.
        /// whether arms serve each other's cached responses
        pub shares_cache: bool = key("share_cache", flag()).default(false);
        /// at least one has a weight and is no canary
        pub arms: Vec<Arm> = sections("arms", Bounds::new("ARMS", 2, 8)).required(
            "add at least two, e.g. `arms = [{ name = \"a\", targets = [\"openai\"], weight = 90 }, …]`",
        );
    }
}

settings! {
    /// An arm. At least one arm has a weight and is no canary.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Arm {
        /// shown in metrics, log and `x-ringside-route`
        pub name: String = key("name", unique_name_of("arm"))
            .required("name the arm; metrics, log and `x-ringside-route` show it");
        /// each as provider or `provider/model`
        pub targets: Vec<usize> = key("targets", targets())
            .required("name targets of this model, each a provider or `provider/model`");
        // Equal shares.
        /// relative share; 0 = no requests
        pub weight: u32 = key("weight", number(Bounds::new("ARM_WEIGHT", 0, 1_000_000))).default(1);
        // Off: automatic rollback only makes sense for a newly introduced arm.
        /// whether it is rolled back when it does worse than the others
        pub canary: bool = key("canary", flag()).default(false);
    }
}

/// `subject`: who stays in an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The session if a header names one, else the virtual key; as the policy `sticky` has it.
    SessionOrKey,
    /// The session; a request without one goes to any arm.
    Session,
    /// No subject: each request goes to any arm.
    Request,
}

impl Subject {
    pub(crate) const CHOICES: Choices<Self> = &[
        ("session-or-key", Self::SessionOrKey),
        ("session", Self::Session),
        ("request", Self::Request),
    ];
}

fn check_arms(experiment: &mut Experiment, section: &Section<'_>, _: &Context<'_>) {
    let compares = |arm: &Arm| !arm.canary && arm.weight > 0;
    if experiment.arms.iter().any(compares) {
        return;
    }
    let message = "no arm is left to compare a canary with, and to take its requests";
    let remedy = "let one arm have a weight above 0 and no `canary = true`";
    section.complain("arms", Complaint::new(message, remedy));
}

/// Indices of targets, ascending, each once.
fn targets() -> Notation<Vec<usize>> {
    let names = list(ARM_TARGETS, "targets", written("", target_indices));
    written("1 to 32 of the model's targets", move |item, context| {
        let named = (names.read)(item, context)?;
        let mut targets: Vec<usize> = named.into_iter().flatten().collect();
        targets.sort_unstable();
        targets.dedup();
        Ok(targets)
    })
}
