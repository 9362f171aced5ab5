//! Virtual keys: found by the digest of what the caller presents; no secret is kept.

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
    /// Loopback or a Unix socket: this machine.
    Local,
    /// Any other address.
    Remote,
}

/// The keys of one configuration.
#[derive(Debug, Default)]
pub struct KeyTable {
    by_digest: HashMap<[u8; 32], usize, foldhash::fast::RandomState>,
    keys: Vec<Entry>,
    /// All keys are of one tenant.
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

/// Leave to make one request.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'t> {
    /// The key's name; `None` when no keys are configured.
    pub key: Option<Name>,
    /// The key's team.
    pub team: Option<Name>,
    /// Whose cache entries this request shares, and what providers keep.
    pub tenant: &'t str,
    /// There is no other tenant.
    pub is_alone: bool,
    /// Regions its requests may go to; empty = all.
    pub regions: &'t [String],
    /// Tags that a provider of its requests must have.
    pub tags: &'t [String],
    /// Whose requests go first when not all can.
    pub priority: KeyPriority,
    models: Option<&'t HashSet<String>>,
    providers: Option<&'t [String]>,
}

/// Tenant of all callers when no keys are configured.
const ANONYMOUS: &str = "anonymous";

impl KeyTable {
    /// The table of `keys`. Tenants are keys, or teams where `scope` says so; the two cannot collide.
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

    /// Admits a caller by what it presents: the value of `authorization` (`Bearer …`), or of
    /// `x-api-key` or `api-key`.
    ///
    /// # Errors
    /// 401 for a missing or wrong key, 403 for a remote caller when no keys are configured.
    pub fn admit(
        &self,
        authorization: Option<&[u8]>,
        api_key: Option<&[u8]>,
        peer: Peer,
    ) -> Result<Caller<'_>, GatewayError> {
        if self.keys.is_empty() {
            return match peer {
                Peer::Local => Ok(Caller {
                    key: None,
                    team: None,
                    tenant: ANONYMOUS,
                    is_alone: true,
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
        let digest = ring::digest::digest(&ring::digest::SHA256, presented);
        let entry = <[u8; 32]>::try_from(digest.as_ref())
            .ok()
            .and_then(|digest| self.by_digest.get(&digest))
            .and_then(|at| self.keys.get(*at))
            .ok_or_else(|| {
                GatewayError::new(
                    ErrorCode::InvalidApiKey,
                    "this API key is not one of the configured keys",
                )
            })?;
        Ok(self.caller(entry))
    }

    /// The grant of the key called `name`, for `explain`; without keys, that of any caller.
    #[must_use]
    pub fn grant_of(&self, name: Option<&str>) -> Option<Caller<'_>> {
        let Some(name) = name else {
            return self.admit(None, None, Peer::Local).ok();
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
            is_alone: self.has_one_tenant,
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

    /// Whether this caller may reach all of the provider called `name`, past models and routing.
    #[must_use]
    pub fn reaches(&self, name: &str) -> bool {
        self.providers
            .is_none_or(|providers| providers.iter().any(|one| one == name))
    }

    /// 403 unless this caller may use `model`.
    ///
    /// # Errors
    /// 403 naming the model.
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
    fn keys_are_found_by_what_they_present() {
        let table = table(TenantScope::Key);
        let a = table.admit(Some(b"Bearer s1"), None, Peer::Remote).unwrap();
        assert_eq!(&*a.key.unwrap().text(), "a");
        assert!(a.allows("anything"));
        assert!(a.reaches("p") && !a.reaches("q"));
        let b = table.admit(None, Some(b"s2"), Peer::Local).unwrap();
        assert!(b.allows("m"));
        assert_eq!(b.check_model("n").unwrap_err().status, 403);
        assert_ne!(a.tenant, b.tenant);
        assert!(!a.is_alone);
        for wrong in [&b"Bearer s3"[..], b"Bearer ", b"Basic s1", b"s1", b""] {
            let fault = table.admit(Some(wrong), None, Peer::Local).unwrap_err();
            assert_eq!(fault.status, 401);
        }
        let missing = table.admit(None, None, Peer::Local).unwrap_err();
        assert_eq!(missing.code, ErrorCode::MissingApiKey);
    }

    #[test]
    fn teams_share_only_when_told_to() {
        let table = table(TenantScope::Team);
        let a = table.admit(Some(b"Bearer s1"), None, Peer::Local).unwrap();
        let b = table.admit(Some(b"Bearer s2"), None, Peer::Local).unwrap();
        assert_eq!(a.tenant, b.tenant);
        assert!(a.is_alone);
    }

    #[test]
    fn without_keys_only_this_machine_is_served() {
        let table = KeyTable::default();
        assert!(table.admit(None, None, Peer::Local).is_ok());
        let fault = table.admit(None, None, Peer::Remote).unwrap_err();
        assert_eq!((fault.status, fault.code), (403, ErrorCode::KeysRequired));
    }
}
