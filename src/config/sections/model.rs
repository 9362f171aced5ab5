//! `[[models]]`: the models that applications request. It must not know which policies there are: their names are
//! passed in.

use crate::config::key::key;
use crate::config::limits::{Bounds, TARGETS};
use crate::config::names::known_policies;
use crate::config::notation::{known_name, unique_name};
use crate::config::sections::experiment::Experiment;
use crate::config::sections::failover::Failover;
use crate::config::sections::mirror::Mirror;
use crate::config::sections::rules::Rule;
use crate::config::sections::target::Target;
use crate::config::settings::{flattened, optional_section, sections, settings};

settings! {
    /// `[[models]]`
    #[derive(Debug, Clone, PartialEq)]
    pub struct Model {
        /// the name that applications request
        pub name: String = key("name", unique_name())
            .required("add the name that applications ask for, e.g. `name = \"gpt-4o\"`");
        // The order of the file, which is what a reader of the file expects.
        /// routing policy, see [routing.md](routing.md)
        pub policy: String = key("policy", known_name("policy", known_policies)).default("priority".to_owned());
        /// where the model is served
        pub targets: Vec<Target> = sections("targets", TARGETS)
            .required("add at least one target, e.g. `targets = [{ provider = \"openai\" }]`");
        /// What happens with slow and failing targets.
        pub failover: Failover = flattened::<Failover>();
        /// Arms that share its requests.
        pub experiment: Option<Experiment> = optional_section("experiment");
        /// Another target that a share of its requests is sent to as well.
        pub mirror: Option<Mirror> = optional_section("mirror");
        /// the first rule that applies decides; see [routing.md](routing.md#rules)
        pub rules: Vec<Rule> = sections("rules", Bounds::new("RULES", 1, 32));
    }
}
