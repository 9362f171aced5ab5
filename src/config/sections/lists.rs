//! `[[providers]]`, `[[models]]` and `[[keys]]`, and what they say about each other.
//!
//! It must not know which dialects and policies there are: their names are passed in.

use crate::config::defaults;
use crate::config::limits;
use crate::config::provider_family;
use crate::config::sections::admission;
use crate::config::sections::experiment;
use crate::config::sections::failover;
use crate::config::sections::mirror;
use crate::config::sections::rules;
use crate::config::values;
use std::collections::HashMap;
use std::hash::Hash;

use ring::digest;

use crate::config::load::KnownNames;
use crate::config::model::config::{Abilities, Key, Model, Provider, Target, TargetLocation};
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section, suggest};
use crate::config::references::{Pem, References};
use crate::config::sections::failover::Named;
use crate::config::sections::mirror::Comparable;
use crate::config::sections::rules::KeyNames;

/// The provider name that means the embedding model in this process.
const LOCAL: &str = "local";

/// Values that may occur once, each with the item that holds it.
struct Once<'a, T> {
    seen: HashMap<T, Item<'a>>,
}

impl<'a, T: Hash + Eq> Once<'a, T> {
    fn new() -> Self {
        Self {
            seen: HashMap::new(),
        }
    }

    /// Remembers `value`; if it was there before, says where.
    fn earlier(&mut self, value: T, item: &Item<'a>) -> Option<String> {
        if let Some(first) = self.seen.get(&value) {
            return Some(format!("{} in line {}", first.path, first.line()));
        }
        self.seen.insert(value, item.clone());
        None
    }
}

/// A name that no entry of the list has yet.
fn unique_name<'a>(once: &mut Once<'a, String>, item: &Item<'a>) -> Result<String, Complaint> {
    let name = values::name(item.text()?)?.to_owned();
    match once.earlier(name.clone(), item) {
        None => Ok(name),
        Some(place) => Err(Complaint::new(
            format!("the name `{name}` is already taken by {place}"),
            "give each entry a name of its own",
        )),
    }
}

fn name(item: &Item<'_>) -> Result<String, Complaint> {
    values::name(item.text()?).map(str::to_owned)
}

/// One of `known`, called `what` in the message.
fn known_name(item: &Item<'_>, what: &str, known: &[&str]) -> Result<String, Complaint> {
    let text = item.text()?;
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("there is no {what} `{text}`"),
        suggest(text, || known.iter().copied()),
    ))
}

/// The valid providers, and the names of all: targets may name one that is wrong in another key.
pub(crate) fn providers(
    root: &mut Section<'_>,
    known: &KnownNames<'_>,
    references: &References<'_>,
) -> (Vec<Provider>, Vec<String>) {
    let mut once = Once::new();
    let mut names = Vec::new();
    let mut providers = Vec::new();
    for mut section in root.sections("providers", &limits::PROVIDERS) {
        let written = section.item("name").and_then(|item| item.text().ok());
        names.push(written.unwrap_or_default().to_owned());
        providers.extend(provider(section, &mut once, known, references));
    }
    (providers, names)
}

fn provider<'a>(
    mut section: Section<'a>,
    once: &mut Once<'a, String>,
    known: &KnownNames<'_>,
    references: &References<'_>,
) -> Option<Provider> {
    use limits::TIMEOUT;
    let name_key = section.require(
        "name",
        "name the provider, e.g. `name = \"openai\"`; targets refer to it",
        |item| provider_name(once, item),
    );
    let kind = section.read("kind", provider_family::kind);
    let dialect = section.read("dialect", |item| {
        known_name(item, "dialect", known.dialects)
    });
    let api_version = section.read("api_version", name);
    let base_url = provider_family::base_url(&mut section, kind);
    let auth = crate::config::sections::auth::read(section.section("auth"), references);
    let api_keys = provider_family::api_keys(&mut section, kind, auth.as_ref(), references);
    let ca_pem = section.read("ca", |item| references.pem(item.text()?, Pem::Certificate));
    let mut duration = |key, default| section.duration(key, default, &TIMEOUT);
    let connect_timeout = duration("connect_timeout", defaults::CONNECT_TIMEOUT);
    let tls_timeout = duration("tls_timeout", defaults::TLS_TIMEOUT);
    let first_byte_timeout = duration("first_byte_timeout", defaults::FIRST_BYTE_TIMEOUT);
    let read_timeout = duration("read_timeout", defaults::READ_TIMEOUT);
    let idle_timeout = duration("idle_timeout", defaults::PROVIDER_IDLE_TIMEOUT);
    let idle_connections_max = section.number(
        "idle_connections_max",
        defaults::IDLE_CONNECTIONS_MAX,
        &limits::IDLE_CONNECTIONS,
    );
    let drops_untranslatable = untranslatable(&mut section);
    let responses = responses(&mut section);
    let region = section.read("region", name);
    let tags = section.list("tags", &limits::TAGS, name);
    let price_family = section.read("price_family", name);
    section.finish();
    Some(Provider {
        name: name_key?,
        kind,
        dialect: dialect.unwrap_or_else(|| {
            kind.map_or(defaults::DIALECT, |kind| kind.dialect.as_str())
                .to_owned()
        }),
        base_url: base_url?,
        api_version,
        api_keys: api_keys.unwrap_or_default(),
        auth,
        ca_pem,
        connect_timeout,
        tls_timeout,
        first_byte_timeout,
        read_timeout,
        idle_timeout,
        idle_connections_max,
        drops_untranslatable,
        responses,
        region,
        tags: tags.unwrap_or_default(),
        price_family,
    })
}

/// What becomes of fields that the dialect has no place for: true if they are dropped.
fn untranslatable(section: &mut Section<'_>) -> bool {
    let choices = [("refuse", false), ("drop", true)];
    section.choice(
        "unsupported_fields",
        defaults::DROPS_UNSUPPORTED_FIELDS,
        &choices,
    )
}

/// What becomes of requests in Responses: `Some(true)` if they are passed.
fn responses(section: &mut Section<'_>) -> Option<bool> {
    let choices = [
        ("auto", None),
        ("pass", Some(true)),
        ("translate", Some(false)),
    ];
    section.choice("responses", defaults::RESPONSES, &choices)
}

fn provider_name<'a>(once: &mut Once<'a, String>, item: &Item<'a>) -> Result<String, Complaint> {
    match item.text()? {
        LOCAL => Err(Complaint::new(
            "the name `local` is reserved for the embedding model in this process",
            "choose another name, e.g. `local-vllm`",
        )),
        text if text.contains('/') => Err(Complaint::new(
            "'/' cannot stand in a provider's name: `x-ringside-target` is `provider/model`",
            "use letters, digits and `-`, `_`, `.`",
        )),
        _ => unique_name(once, item),
    }
}

/// One entry of `[[models]]`: the name as written, and the model unless something in it is wrong.
pub(crate) struct ModelEntry {
    /// Name as written; empty when there is none.
    pub name: String,
    /// The model.
    pub model: Option<Model>,
}

/// The models; targets are looked up in `providers`, the names in the order of the file.
pub(crate) fn models(
    root: &mut Section<'_>,
    comparable: Comparable<'_>,
    providers: &[String],
) -> Vec<ModelEntry> {
    let mut once = Once::new();
    let mut local = false;
    let sections = root.sections("models", &limits::MODELS);
    let keys = KeyNames::peek(root);
    let mut models = Vec::new();
    let mut named = Vec::new();
    for mut section in sections {
        let written = section.item("name").and_then(|item| item.text().ok());
        let name = written.unwrap_or_default().to_owned();
        let model = model(section, &mut once, &mut named, comparable, providers, &keys);
        local |= model.as_ref().is_some_and(|model| {
            model
                .targets
                .iter()
                .any(|target| target.place == TargetLocation::Local)
        });
        models.push(ModelEntry { name, model });
    }
    let names: Vec<&str> = models.iter().map(|one: &ModelEntry| &*one.name).collect();
    failover::check(named, &names);
    if root.item("models").is_none() {
        root.complain(
            "models",
            Complaint::new(
                "no model is configured",
                "add a `[[models]]` section with `name` and `targets`",
            ),
        );
    }
    if providers.is_empty() && !local && root.item("providers").is_none() {
        root.complain(
            "providers",
            Complaint::new(
                "no provider is configured",
                "add a `[[providers]]` section with `name` and `base_url`, or a target with \
                 `provider = \"local\"`",
            ),
        );
    }
    models
}

fn model<'a>(
    mut section: Section<'a>,
    once: &mut Once<'a, String>,
    named: &mut Named<'a>,
    comparable: Comparable<'_>,
    providers: &[String],
    keys: &KeyNames,
) -> Option<Model> {
    let name = section.require(
        "name",
        "add the name that applications ask for, e.g. `name = \"gpt-4o\"`",
        |item| unique_name(once, item),
    );
    let known = comparable.known;
    let policy = section.read("policy", |item| known_name(item, "policy", known.policies));
    let missing = section.item("targets").is_none();
    let sections = section.sections("targets", &limits::TARGETS);
    if missing {
        section.complain(
            "targets",
            Complaint::new(
                "missing",
                "add at least one target, e.g. `targets = [{ provider = \"openai\" }]`",
            ),
        );
    }
    let written = sections.len();
    let own_name = name.as_deref().unwrap_or_default();
    let targets: Vec<Target> = sections
        .into_iter()
        .filter_map(|section| target(section, own_name, providers))
        .collect();
    let failover = failover::failover(&mut section, own_name, named);
    let whole: &[Target] = if targets.len() == written {
        &targets
    } else {
        &[]
    };
    let called = experiment::called(whole, providers);
    let experiment = experiment::read(section.section("experiment"), &called);
    let mirror = mirror::read(section.section("mirror"), own_name, providers, comparable);
    let refers_to = rules::KnownTargets {
        called: &called,
        experiment: experiment.as_ref(),
        policies: known.policies,
        keys,
    };
    let rules = rules::read(&mut section, &refers_to);
    section.finish();
    Some(Model {
        name: name?,
        policy: policy.unwrap_or_else(|| defaults::POLICY.to_owned()),
        targets: (targets.len() == written).then_some(targets)?,
        failover,
        experiment,
        mirror,
        rules,
    })
}

fn target(mut section: Section<'_>, own_name: &str, providers: &[String]) -> Option<Target> {
    let place = section.require(
        "provider",
        "add the name of a provider, or `local` for the embedding model in this process",
        |item| place(item.text()?, providers),
    );
    let model = section.read("model", name);
    let weight = section.number("weight", defaults::WEIGHT, &limits::WEIGHT);
    let priority = section.number("priority", defaults::PRIORITY, &limits::PRIORITY);
    let mut able = |key| section.read(key, Item::boolean);
    let (tools, vision) = (able("tools"), able("vision"));
    let (schema, streaming) = (able("schema"), able("streaming"));
    let abilities = Abilities {
        context: section.read("context", |item| item.number(&limits::CONTEXT_TOKENS)),
        tools,
        vision,
        schema,
        streaming,
    };
    section.finish();
    let place = place?;
    let default = match place {
        TargetLocation::Local => defaults::LOCAL_MODEL,
        TargetLocation::Provider(_) => own_name,
    };
    Some(Target {
        place,
        model: model.unwrap_or_else(|| default.to_owned()),
        weight,
        priority,
        abilities,
    })
}

fn place(name: &str, providers: &[String]) -> Result<TargetLocation, Complaint> {
    if name == LOCAL {
        return Ok(TargetLocation::Local);
    }
    let index = providers.iter().position(|provider| provider == name);
    index.map(TargetLocation::Provider).ok_or_else(|| {
        let names = || {
            let named = providers.iter().map(String::as_str);
            named.filter(|name| !name.is_empty()).chain([LOCAL])
        };
        Complaint::new(
            format!("there is no provider `{name}`"),
            suggest(name, names),
        )
    })
}

/// The virtual keys; their `models` are looked up in `models`.
pub(crate) fn keys(
    root: &mut Section<'_>,
    models: &[ModelEntry],
    providers: &[String],
    references: &References<'_>,
) -> Vec<Key> {
    let mut names = Once::new();
    let mut hashes = Once::new();
    let mut keys = Vec::new();
    for mut section in root.sections("keys", &limits::KEYS) {
        let name_key = section.require(
            "name",
            "name the key, e.g. `name = \"checkout\"`; logs and metrics show it",
            |item| unique_name(&mut names, item),
        );
        let sha256 = key_hash(&mut section, &mut hashes, references);
        let team = section.read("team", name);
        let allowed = section.list("models", &limits::KEY_MODELS, |item| {
            model_name(item, models)
        });
        let regions = section.list("regions", &limits::TAGS, name);
        let tags = section.list("tags", &limits::TAGS, name);
        let priority = section.choice(
            "priority",
            defaults::KEY_PRIORITY,
            &admission::KEY_PRIORITIES,
        );
        let reached = section.list("providers", &limits::KEY_PROVIDERS, |item| {
            one_of(item, "provider", || providers.iter().map(String::as_str))
        });
        section.finish();
        if let (Some(name), Some(sha256)) = (name_key, sha256) {
            keys.push(Key {
                name,
                sha256,
                team,
                models: allowed,
                regions: regions.unwrap_or_default(),
                tags: tags.unwrap_or_default(),
                priority,
                providers: reached.unwrap_or_default(),
            });
        }
    }
    keys
}

/// The hash from exactly one of `secret` and `sha256`, which no other key has.
fn key_hash<'a>(
    section: &mut Section<'a>,
    hashes: &mut Once<'a, [u8; 32]>,
    references: &References<'_>,
) -> Option<[u8; 32]> {
    let written = [section.item("secret"), section.item("sha256")];
    match written {
        [Some(_), Some(_)] => section.complain(
            "sha256",
            Complaint::new(
                "both `secret` and `sha256` are given",
                "keep one of the two",
            ),
        ),
        [None, None] => section.complain(
            "secret",
            Complaint::new(
                "missing",
                "add a reference, e.g. `secret = \"env:RINGSIDE_KEY\"`, or the secret's SHA-256 \
                 as `sha256 = \"…\"`",
            ),
        ),
        _ => {}
    }
    let mut once = |hash: [u8; 32], item: &Item<'a>| match hashes.earlier(hash, item) {
        None => Ok(hash),
        Some(place) => Err(Complaint::new(
            format!("this is the same secret as {place}"),
            "give each key a secret of its own: a caller is told apart by nothing else",
        )),
    };
    let hashed = section.read("secret", |item| {
        let secret = references.secret(item.text()?)?;
        once(sha256(secret.0.as_bytes()), item)
    });
    let given = section.read("sha256", |item| once(hex_hash(item.text()?)?, item));
    hashed.or(given)
}

fn sha256(secret: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
    hash
}

/// 32 bytes from 64 hexadecimal digits; a wrong text is not told, it may be the secret.
fn hex_hash(text: &str) -> Result<[u8; 32], Complaint> {
    let wrong = || {
        Complaint::new(
            "not a SHA-256: expected 64 hexadecimal digits",
            "write what `printf %s \"$SECRET\" | sha256sum` prints, or use \
             `secret = \"env:NAME\"`",
        )
    };
    let digit = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
    let digits: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
    let digits = digits.filter(|digits| digits.len() == 64);
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.ok_or_else(wrong)?.chunks(2)) {
        *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    }
    Ok(hash)
}

fn model_name(item: &Item<'_>, models: &[ModelEntry]) -> Result<String, Complaint> {
    one_of(item, "model", || {
        models.iter().map(|entry| entry.name.as_str())
    })
}

/// One of the names that entries of another list were given.
fn one_of<'n, I>(item: &Item<'_>, what: &str, names: impl Fn() -> I) -> Result<String, Complaint>
where
    I: Iterator<Item = &'n str>,
{
    let text = item.text()?;
    let names = || names().filter(|name| !name.is_empty());
    if names().any(|name| name == text) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("there is no {what} `{text}`"),
        suggest(text, names),
    ))
}
