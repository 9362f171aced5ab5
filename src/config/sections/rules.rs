//! `[[models.rules]]`: which requests go where, as the user wrote it.
//!
//! It must not know the rest of a model's section (`lists.rs`), nor what a rule does.

use crate::config::limits;
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section, suggest};
use crate::config::sections::experiment::{Experiment, TargetNames, places};
use crate::config::values;

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in the model.
    pub name: String,
    /// What a request must be.
    pub when: When,
    /// Places of the targets that may be asked; `None` = all.
    pub targets: Option<Vec<usize>>,
    /// Place of the arm that it is in.
    pub arm: Option<usize>,
    /// Policy instead of the model's.
    pub policy: Option<String>,
}

/// `when`: all that is said must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// Header names in small letters, with the value or `*`.
    pub headers: Vec<(String, String)>,
    /// Fields of `metadata`, likewise.
    pub metadata: Vec<(String, String)>,
    /// Names of virtual keys; empty = any.
    pub keys: Vec<String>,
    /// Teams; empty = any.
    pub teams: Vec<String>,
    /// Regions; empty = any.
    pub regions: Vec<String>,
    /// Tokens of the prompt, at least.
    pub prompt_tokens_min: Option<u64>,
    /// At most.
    pub prompt_tokens_max: Option<u64>,
    /// Tools.
    pub tools: Option<bool>,
    /// Images.
    pub images: Option<bool>,
    /// An answer by a JSON schema.
    pub schema: Option<bool>,
    /// A stream.
    pub stream: Option<bool>,
}

/// What rules may refer to.
pub(crate) struct KnownTargets<'k> {
    /// The model's targets, as they are called.
    pub called: &'k TargetNames,
    /// Its experiment.
    pub experiment: Option<&'k Experiment>,
    /// Policies.
    pub policies: &'k [&'k str],
    /// Names of virtual keys, and their teams.
    pub keys: &'k KeyNames,
}

/// Names in `[[keys]]`, read before the keys are.
#[derive(Default)]
pub(crate) struct KeyNames {
    /// Keys.
    pub names: Vec<String>,
    /// Teams.
    pub teams: Vec<String>,
}

impl KeyNames {
    /// Those of the file; what is wrong with them is told elsewhere.
    pub(crate) fn peek(root: &mut Section<'_>) -> Self {
        let mut found = Self::default();
        let items = root.item("keys").and_then(|item| item.list().ok());
        for item in items.unwrap_or_default() {
            let text = |key| item.field(key).and_then(|item| item.text().ok());
            found.names.extend(text("name").map(str::to_owned));
            found.teams.extend(text("team").map(str::to_owned));
        }
        found
    }
}

/// The rules of a model, in the order of the file.
pub(crate) fn read(section: &mut Section<'_>, known: &KnownTargets<'_>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for part in section.sections("rules", &limits::RULES) {
        let rule = rule(part, &rules, known);
        rules.extend(rule);
    }
    rules
}

fn rule(mut section: Section<'_>, before: &[Rule], known: &KnownTargets<'_>) -> Option<Rule> {
    let name = section.require(
        "name",
        "name the rule; log, `explain` and `x-ringside-route` show it",
        |item| {
            let name = values::name(item.text()?)?;
            if before.iter().any(|rule| rule.name == name) {
                let what = format!("another rule is called `{name}` too");
                return Err(Complaint::new(what, "give each rule a name of its own"));
            }
            Ok(name.to_owned())
        },
    );
    let when = when(section.section("when"), known.keys);
    let targets = section.list("targets", &limits::ARM_TARGETS, |item| {
        places(item, known.called)
    });
    let arm = section.read("arm", |item| arm(item, known.experiment));
    let policy = section.read("policy", |item| one_of(item, "policy", known.policies));
    let says_nothing = ["targets", "arm", "policy"]
        .into_iter()
        .all(|key| section.item(key).is_none());
    if says_nothing {
        let what = "a rule that changes nothing";
        section.complain(
            "name",
            Complaint::new(what, "give it `targets`, an `arm` or a `policy`"),
        );
    }
    section.finish();
    Some(Rule {
        name: name?,
        when,
        targets: targets.map(|all| all.into_iter().flatten().collect()),
        arm,
        policy,
    })
}

fn when(mut section: Section<'_>, keys: &KeyNames) -> When {
    let name = |item: &Item<'_>| Ok(values::name(item.text()?)?.to_owned());
    let names = |names: &[String]| names.to_vec();
    let (known_keys, known_teams) = (names(&keys.names), names(&keys.teams));
    let tokens = |item: &Item<'_>| item.number(&limits::CONTEXT_TOKENS);
    let headers = section.list("headers", &limits::TAGS, |item| {
        let (name, value) = pair(item)?;
        Ok((name.to_ascii_lowercase(), value))
    });
    let metadata = section.list("metadata", &limits::TAGS, pair);
    let known = |item: &Item<'_>, what: &str, all: &[String]| {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        one_of(item, what, &all)
    };
    let when = When {
        headers: headers.unwrap_or_default(),
        metadata: metadata.unwrap_or_default(),
        keys: section
            .list("keys", &limits::TAGS, |item| {
                known(item, "key", &known_keys)
            })
            .unwrap_or_default(),
        teams: section
            .list("teams", &limits::TAGS, |item| {
                known(item, "team", &known_teams)
            })
            .unwrap_or_default(),
        regions: section
            .list("regions", &limits::TAGS, name)
            .unwrap_or_default(),
        prompt_tokens_min: section.read("prompt_tokens_min", tokens),
        prompt_tokens_max: section.read("prompt_tokens_max", tokens),
        tools: section.read("tools", Item::boolean),
        images: section.read("images", Item::boolean),
        schema: section.read("schema", Item::boolean),
        stream: section.read("stream", Item::boolean),
    };
    section.finish();
    when
}

/// `"name: value"`
fn pair(item: &Item<'_>) -> Result<(String, String), Complaint> {
    let text = item.text()?;
    let parts = text
        .split_once(':')
        .map(|(name, value)| (name.trim(), value.trim()));
    match parts {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(Complaint::new(
            format!("`{text}` is not a name and a value"),
            "write both with a colon between, e.g. \"x-tier: gold\", or \"x-tier: *\" for any value",
        )),
    }
}

fn one_of(item: &Item<'_>, what: &str, known: &[&str]) -> Result<String, Complaint> {
    let text = item.text()?;
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    let remedy = match known {
        [] => "there is none; remove it, or configure one of this name".to_owned(),
        known => suggest(text, || known.iter().copied()),
    };
    Err(Complaint::new(
        format!("there is no {what} `{text}`"),
        remedy,
    ))
}

/// The place of an arm of the model's experiment.
fn arm(item: &Item<'_>, experiment: Option<&Experiment>) -> Result<usize, Complaint> {
    let arms = experiment.map_or(&[][..], |one| &one.arms);
    let names: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
    let name = one_of(item, "arm", &names)?;
    Ok(names
        .iter()
        .position(|one| *one == name)
        .unwrap_or_default())
}
