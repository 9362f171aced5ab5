//! Virtual keys, found by the digest of what the caller presents. No secret is stored. It must not know HTTP or models.

use crate::base::key_priority::KeyPriority;
use crate::base::names::Name;
use crate::config::sections::cache::TenantScope;
use crate::config::sections::virtual_key::Key;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use std::collections::{HashMap, HashSet};

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A loopback address: this machine.
    Local,
    /// A Unix socket: a process of this machine, and no browser.
    UnixSocket,
    /// Any other address.
    Remote,
}

/// The keys of one configuration.
#[derive(Debug, Default)]
pub struct KeyTable {
    by_digest: HashMap<[u8; 32], usize, foldhash::fast::RandomState>,
    keys: Vec<Entry>,
    /// All keys belong to one tenant.
    has_one_tenant: bool,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    team: Option<Name>,
    tenant: String,
    models: Option<HashSet<String>>,
    regions: Vec<String>,
    tags: Vec<String>,
    priority: KeyPriority,
    providers: Vec<String>,
}

/// The authenticated caller of one request, and what it may use.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'t> {
    /// The key's name; `None` when no keys are configured.
    pub key: Option<Name>,
    /// The key's team.
    pub team: Option<Name>,
    /// Whose cache entries and stored responses the request may use.
    pub tenant: &'t str,
    /// The configuration has no other tenant.
    pub is_only_tenant: bool,
    /// Regions that its requests may be sent to; empty = all.
    pub regions: &'t [String],
    /// Tags that a provider must have to get its requests.
    pub tags: &'t [String],
    /// Order of its requests in the queue of a model.
    pub priority: KeyPriority,
    models: Option<&'t HashSet<String>>,
    providers: Option<&'t [String]>,
}

/// Tenant of all callers when no keys are configured.
const ANONYMOUS: &str = "anonymous";

/// The message to a caller that presents several keys.
pub(crate) const SEVERAL_KEYS: &str =
    "the request has several API keys; send one key, in one header, once";

impl KeyTable {
    /// The table of `keys`. Each key is a tenant, or each team if `scope` is [`TenantScope::Team`]. Prefixes keep the names of
    /// keys and teams apart.
    #[must_use]
    pub fn new(keys: &[Key], scope: TenantScope) -> Self {
        let mut table = Self::default();
        for key in keys {
            let tenant = match (&key.team, scope) {
                (Some(team), TenantScope::Team) => format!("team:{team}"),
                _ => format!("key:{}", key.name),
            };
            table.by_digest.insert(key.sha256, table.keys.len());
            table.keys.push(Entry {
                name: Name::new(&key.name),
                team: key.team.as_deref().map(Name::new),
                tenant,
                models: key
                    .models
                    .as_ref()
                    .map(|models| models.iter().cloned().collect()),
                regions: key.regions.clone(),
                tags: key.tags.clone(),
                priority: key.priority,
                providers: key.providers.clone(),
            });
        }
        let first = table.keys.first().map(|key| &key.tenant);
        table.has_one_tenant = table.keys.iter().all(|key| Some(&key.tenant) == first);
        table
    }

    /// Whether no keys are configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Authenticates a caller by what it presents: the value of `authorization` (`Bearer …`), or of `x-api-key` or `api-key`.
    /// If there are both, they hold the same key.
    ///
    /// # Errors
    /// 401 for a missing or wrong key, or for two; 403 for a remote caller when no keys are configured.
    pub fn authenticate(
        &self,
        authorization: Option<&[u8]>,
        api_key: Option<&[u8]>,
        peer: Peer,
    ) -> Result<Caller<'_>, GatewayError> {
        if self.keys.is_empty() {
            return match peer {
                Peer::Local | Peer::UnixSocket => Ok(Caller {
                    key: None,
                    team: None,
                    tenant: ANONYMOUS,
                    is_only_tenant: true,
                    regions: &[],
                    tags: &[],
                    priority: KeyPriority::Normal,
                    models: None,
                    providers: None,
                }),
                Peer::Remote => Err(GatewayError::new(
                    ErrorCode::KeysRequired,
                    "no keys are configured, so only callers on this machine (loopback or Unix socket) are served; add [[keys]] to the configuration to serve others",
                )),
            };
        }
        let presented = match authorization {
            Some(value) => bearer(value).ok_or_else(|| {
                GatewayError::new(
                    ErrorCode::InvalidApiKey,
                    "the authorization header must be `Bearer <key>`",
                )
            })?,
            None => api_key.ok_or_else(|| {
                GatewayError::new(
                    ErrorCode::MissingApiKey,
                    "no API key was sent; send a Ringside key as `authorization: Bearer <key>`",
                )
            })?,
        };
        // Which of two keys counts would depend on who reads them.
        if api_key.is_some_and(|other| other != presented) {
            return Err(GatewayError::new(ErrorCode::InvalidApiKey, SEVERAL_KEYS));
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, presented);
        let entry = <[u8; 32]>::try_from(digest.as_ref())
            .ok()
            .and_then(|digest| self.by_digest.get(&digest))
            .and_then(|index| self.keys.get(*index))
            .ok_or_else(|| {
                GatewayError::new(
                    ErrorCode::InvalidApiKey,
                    "this API key is not one of the configured keys",
                )
            })?;
        Ok(self.caller(entry))
    }

    /// The caller with the key `name`, for `explain`; without a name, a local caller without a key.
    #[must_use]
    pub fn caller_of(&self, name: Option<&str>) -> Option<Caller<'_>> {
        let Some(name) = name else {
            return self.authenticate(None, None, Peer::Local).ok();
        };
        let mut keys = self.keys.iter();
        keys.find(|entry| *entry.name.text() == *name)
            .map(|entry| self.caller(entry))
    }

    fn caller<'t>(&self, entry: &'t Entry) -> Caller<'t> {
        Caller {
            key: Some(entry.name),
            team: entry.team,
            tenant: &entry.tenant,
            is_only_tenant: self.has_one_tenant,
            regions: &entry.regions,
            tags: &entry.tags,
            priority: entry.priority,
            models: entry.models.as_ref(),
            providers: Some(&entry.providers),
        }
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| key.trim_ascii())
        .filter(|key| !key.is_empty())
}

impl Caller<'_> {
    /// Whether this caller may use `model`.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.models.is_none_or(|models| models.contains(model))
    }

    /// Whether this caller may use the proxy of the provider `name`, which reaches all its paths without models and routing.
    #[must_use]
    pub fn may_proxy(&self, name: &str) -> bool {
        self.providers
            .is_none_or(|providers| providers.iter().any(|provider| provider == name))
    }

    /// Checks that this caller may use `model`.
    ///
    /// # Errors
    /// 403 that names the model.
    pub fn check_model(&self, model: &str) -> Result<(), GatewayError> {
        if self.allows(model) {
            return Ok(());
        }
        Err(GatewayError::new(
            ErrorCode::ModelNotAllowed,
            format!("this key may not use the model `{model}`"),
        )
        .on("model"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(scope: TenantScope) -> KeyTable {
        let key = |name: &str, secret: &str, models: Option<Vec<String>>| Key {
            name: name.into(),
            sha256: ring::digest::digest(&ring::digest::SHA256, secret.as_bytes())
                .as_ref()
                .try_into()
                .unwrap(),
            team: Some("pay".into()),
            models,
            regions: Vec::new(),
            tags: Vec::new(),
            priority: KeyPriority::Normal,
            providers: vec!["p".into()],
        };
        let keys = [key("a", "s1", None), key("b", "s2", Some(vec!["m".into()]))];
        KeyTable::new(&keys, scope)
    }

    #[test]
    fn callers_are_found_by_the_key_they_present() {
        let table = table(TenantScope::Key);
        let a = table
            .authenticate(Some(b"Bearer s1"), None, Peer::Remote)
            .unwrap();
        assert_eq!(&*a.key.unwrap().text(), "a");
        assert!(a.allows("anything"));
        assert!(a.may_proxy("p") && !a.may_proxy("q"));
        let b = table.authenticate(None, Some(b"s2"), Peer::Local).unwrap();
        assert!(b.allows("m"));
        assert_eq!(b.check_model("n").unwrap_err().status, 403);
        assert_ne!(a.tenant, b.tenant);
        assert!(!a.is_only_tenant);
        for wrong in [&b"Bearer s3"[..], b"Bearer ", b"Basic s1", b"s1", b""] {
            let error = table
                .authenticate(Some(wrong), None, Peer::Local)
                .unwrap_err();
            assert_eq!(error.status, 401);
        }
        let missing = table.authenticate(None, None, Peer::Local).unwrap_err();
        assert_eq!(missing.code, ErrorCode::MissingApiKey);
    }

    #[test]
    fn keys_of_a_team_are_one_tenant_only_with_team_scope() {
        let table = table(TenantScope::Team);
        let a = table
            .authenticate(Some(b"Bearer s1"), None, Peer::Local)
            .unwrap();
        let b = table
            .authenticate(Some(b"Bearer s2"), None, Peer::Local)
            .unwrap();
        assert_eq!(a.tenant, b.tenant);
        assert!(a.is_only_tenant);
    }

    #[test]
    fn without_keys_only_callers_on_this_machine_are_served() {
        let table = KeyTable::default();
        assert!(table.authenticate(None, None, Peer::Local).is_ok());
        let error = table.authenticate(None, None, Peer::Remote).unwrap_err();
        assert_eq!((error.status, error.code), (403, ErrorCode::KeysRequired));
    }
}
