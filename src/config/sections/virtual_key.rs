//! `[[keys]]`: virtual keys of callers.

use crate::base::key_priority::KeyPriority;
use crate::config::context::Context;
use crate::config::documentation::KeyDoc;
use crate::config::key::{Field, key};
use crate::config::limits::{Bounds, TAGS};
use crate::config::names::KnownNames;
use crate::config::notation::{Choices, Notation, choice, list, name, unique_name, written};
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section};
use crate::config::settings::settings;
use crate::config::suggest::suggest;
use ring::digest;

settings! {
    /// `[[keys]]`
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Key {
        /// used in logs and metrics
        pub name: String = key("name", unique_name())
            .required("name the key, e.g. `name = \"checkout\"`; logs and metrics show it");
        /// SHA-256 of the secret.
        pub sha256: [u8; 32] = SecretHash;
        /// tag in logs, and see `cache.scope`
        pub team: Option<String> = key("team", name()).optional("–");
        /// models this key may use
        pub models: Option<Vec<String>> = key("models", list(KEY_MODELS, "names of models", known_model()))
            .optional("all");
        /// regions its requests may go to; a provider without `region` is in none
        pub regions: Vec<String> = key("regions", list(TAGS, "names", name())).default_shown(Vec::new(), "all");
        /// tags that a provider of its requests must have, all of them
        pub tags: Vec<String> = key("tags", list(TAGS, "names", name())).default_shown(Vec::new(), "none");
        /// whose requests go first when targets have no free permit
        pub priority: KeyPriority = key("priority", choice(PRIORITIES)).default(KeyPriority::Normal);
        /// providers all of whose API it may reach, past models and routing: files, batches and `/providers/{name}/…`, see [providers.md](providers.md#pass-through)
        pub providers: Vec<String> = key("providers", list(KEY_PROVIDERS, "names of providers", known_provider()))
            .default_shown(Vec::new(), "none");
    }
}

const PRIORITIES: Choices<KeyPriority> = &[
    ("low", KeyPriority::Low),
    ("normal", KeyPriority::Normal),
    ("high", KeyPriority::High),
];
/// An empty list would be a key that may do nothing.
const KEY_MODELS: Bounds<usize> = Bounds::new("KEY_MODELS", 1, 1024);
const KEY_PROVIDERS: Bounds<usize> = Bounds::new("KEY_PROVIDERS", 0, 256);

fn known_model() -> Notation<String> {
    written("", |item, context| {
        let text = item.text()?;
        known(
            item,
            "model",
            context.names.model_names().any(|name| name == text),
            || suggest(text, || context.names.model_names()),
        )
    })
}

fn known_provider() -> Notation<String> {
    written("", |item, context| {
        let text = item.text()?;
        known(
            item,
            "provider",
            context.names.provider(text).is_some(),
            || suggest(text, || context.names.provider_names()),
        )
    })
}

fn known(
    item: &Item<'_>,
    what: &str,
    is_known: bool,
    remedy: impl Fn() -> String,
) -> Result<String, Complaint> {
    let text = item.text()?;
    if is_known && !text.is_empty() {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("there is no {what} `{text}`"),
        remedy(),
    ))
}

/// The hash from exactly one of `secret` and `sha256`, which no other key has.
struct SecretHash;

impl Field<[u8; 32]> for SecretHash {
    fn read(&self, section: &mut Section<'_>, context: &Context<'_>) -> Option<[u8; 32]> {
        let is_written = ["secret", "sha256"].map(|key| section.item(key).is_some());
        match is_written {
            [true, true] => section.complain(
                "sha256",
                Complaint::new(
                    "both `secret` and `sha256` are given",
                    "keep one of the two",
                ),
            ),
            [false, false] => section.complain(
                "secret",
                Complaint::new(
                    "missing",
                    "add a reference, e.g. `secret = \"env:RINGSIDE_KEY\"`, or the secret's SHA-256 \
                     as `sha256 = \"…\"`",
                ),
            ),
            _ => {}
        }
        let hashed = section.read("secret", |item| {
            let secret = context.references.secret(item.text()?)?;
            unique_hash(sha256(secret.0.as_bytes()), item, context)
        });
        let given = section.read("sha256", |item| {
            unique_hash(hex_hash(item.text()?)?, item, context)
        });
        hashed.or(given)
    }

    fn document(&self, _: &str, prefix: &str, _: &KnownNames<'_>, keys: &mut Vec<KeyDoc>) {
        let document = |name: &str, bounds: &str, meaning: &str| KeyDoc {
            path: format!("{prefix}{name}"),
            kind: None,
            default: "–".into(),
            bounds: bounds.into(),
            needs_restart: false,
            meaning: meaning.into(),
        };
        keys.push(document(
            "secret",
            "reference",
            "exactly one of `secret` and `sha256`; no two keys share a secret",
        ));
        keys.push(document(
            "sha256",
            "64 hexadecimal digits",
            "the secret's SHA-256, as `printf %s \"$SECRET\" | sha256sum` prints it",
        ));
    }

    fn restarts(&self, _: &[u8; 32], _: &[u8; 32], _: &str, _: &mut Vec<String>) {}
}

fn unique_hash(
    hash: [u8; 32],
    item: &Item<'_>,
    context: &Context<'_>,
) -> Result<[u8; 32], Complaint> {
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    match context.seen.earlier("hashes of secrets", &digits, item) {
        None => Ok(hash),
        Some(position) => Err(Complaint::new(
            format!("this is the same secret as {position}"),
            "give each key a secret of its own: a caller is told apart by nothing else",
        )),
    }
}

fn sha256(secret: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
    hash
}

/// 32 bytes from 64 hexadecimal digits; no message quotes a wrong text, it may be the secret.
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
