//! `auth = { … }` of a provider: credentials that are signed with, or renewed.
//!
//! It must not know how they are used; that they can be is checked here, while the file can be corrected.

use crate::config::defaults;
use crate::config::model::auth::{Auth, AwsAuth, AwsSource, EntraAuth, GoogleAuth};
use crate::config::model::config::{BaseUrl, Secret};
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section, suggest};
use crate::config::references::References;
use crate::config::values;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::RsaKeyPair;
use std::net::{IpAddr, Ipv6Addr};

const KINDS: [&str; 4] = ["aws", "aws-container", "google", "entra"];

/// Both `auth` and `api_keys` are given.
pub(crate) fn beside_keys() -> Complaint {
    Complaint::new(
        "both `auth` and `api_keys` are given",
        "keep one of the two; for both, configure two providers",
    )
}

/// The section `auth`; `None` when it is absent, or wrong and now reported.
pub(crate) fn read(mut section: Section<'_>, references: &References<'_>) -> Option<Auth> {
    if !section.is_present() {
        return None;
    }
    let kind = section.require("kind", "add the kind, e.g. `kind = \"aws\"`", |item| {
        let text = item.text()?;
        let known = KINDS.into_iter().find(|kind| *kind == text);
        known.ok_or_else(|| {
            Complaint::new(
                format!("there is no kind `{text}`"),
                suggest(text, || KINDS.into_iter()),
            )
        })
    })?;
    let auth = match kind {
        "google" => google(&mut section, references).map(Auth::Google),
        "entra" => entra(&mut section, references).map(Auth::Entra),
        _ => aws(&mut section, kind, references).map(Auth::Aws),
    };
    section.finish();
    auth
}

fn aws(section: &mut Section<'_>, kind: &str, references: &References<'_>) -> Option<AwsAuth> {
    let region = section.require(
        "region",
        "add the region that requests are signed for, e.g. `region = \"eu-central-1\"`",
        name,
    );
    let service = section.read("service", name);
    let source = if kind == "aws" {
        fixed_keys(section, references)
    } else {
        let url = section.require(
            "url",
            "add the endpoint that the container's environment names in \
             AWS_CONTAINER_CREDENTIALS_FULL_URI, or `http://169.254.170.2` and the path in \
             AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            |item| token_url(item.text()?),
        );
        let token = section.read("token", |item| references.renewable(item.text()?));
        url.map(|url| AwsSource::Container { url, token })
    };
    Some(AwsAuth {
        region: region?,
        service: service.unwrap_or_else(|| defaults::AWS_SERVICE.to_owned()),
        source: source?,
    })
}

fn fixed_keys(section: &mut Section<'_>, references: &References<'_>) -> Option<AwsSource> {
    let mut secret = |key, remedy| {
        section.require(key, remedy, |item: &Item<'_>| {
            references.secret(item.text()?)
        })
    };
    let access_key_id = secret(
        "access_key_id",
        "add a reference, e.g. `access_key_id = \"env:AWS_ACCESS_KEY_ID\"`",
    );
    let secret_access_key = secret(
        "secret_access_key",
        "add a reference, e.g. `secret_access_key = \"env:AWS_SECRET_ACCESS_KEY\"`",
    );
    let session_token = section.read("session_token", |item| references.secret(item.text()?));
    Some(AwsSource::Fixed {
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token,
    })
}

fn google(section: &mut Section<'_>, references: &References<'_>) -> Option<GoogleAuth> {
    let scope = section.read("scope", name);
    let account = section.require(
        "service_account",
        "add the account's key file, e.g. `service_account = \"file:service-account.json\"`",
        |item| service_account(&references.document(item.text()?)?),
    );
    Some(GoogleAuth {
        scope: scope.unwrap_or_else(|| defaults::GOOGLE_SCOPE.to_owned()),
        ..account?
    })
}

/// A key file as the Google Cloud console gives it; nothing of it is told.
fn service_account(json: &str) -> Result<GoogleAuth, Complaint> {
    let wrong = |what: &str| {
        Complaint::new(
            format!("not a service account's key file: {what}"),
            "create a JSON key for the service account in the Google Cloud console, and give that file",
        )
    };
    let document: serde_json::Value =
        serde_json::from_str(json).map_err(|_| wrong("it is not JSON"))?;
    let field = |name: &str| document.get(name)?.as_str();
    let need = |name: &str| field(name).ok_or_else(|| wrong(&format!("`{name}` is missing")));
    let key: String = need("private_key")?
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::trim)
        .collect();
    let der = STANDARD.decode(&key).ok();
    der.and_then(|der| RsaKeyPair::from_pkcs8(&der).ok())
        .ok_or_else(|| wrong("`private_key` is no RSA key in PKCS#8 PEM form"))?;
    Ok(GoogleAuth {
        email: need("client_email")?.to_owned(),
        key_id: field("private_key_id").map(str::to_owned),
        key: Secret(key),
        token_url: token_url(need("token_uri")?)?,
        scope: String::new(),
    })
}

fn entra(section: &mut Section<'_>, references: &References<'_>) -> Option<EntraAuth> {
    let tenant = section.require(
        "tenant",
        "add the directory (tenant) id, e.g. `tenant = \"72f988bf-86f1-41af-91ab-2d7cd011db47\"`",
        |item| match name(item)? {
            tenant if tenant.contains('/') => Err(Complaint::new(
                "'/' cannot stand in a tenant",
                "write the directory (tenant) id alone",
            )),
            tenant => Ok(tenant),
        },
    );
    let client_id = section.require(
        "client_id",
        "add the application (client) id of the app registration",
        name,
    );
    let client_secret = section.require(
        "client_secret",
        "add a reference, e.g. `client_secret = \"env:AZURE_CLIENT_SECRET\"`",
        |item| references.secret(item.text()?),
    );
    let scope = section.read("scope", name);
    let authority = section.read("authority", |item| token_url(item.text()?));
    let mut token_url = match authority {
        Some(url) => url,
        None => values::base_url(defaults::ENTRA_AUTHORITY).ok()?,
    };
    token_url.path = format!("{}/{}/oauth2/v2.0/token", token_url.path, tenant?);
    Some(EntraAuth {
        token_url,
        client_id: client_id?,
        client_secret: client_secret?,
        scope: scope.unwrap_or_else(|| defaults::ENTRA_SCOPE.to_owned()),
    })
}

/// Where EKS gives keys over IPv6 (docs.aws.amazon.com, "EKS Pod Identity Agent").
const EKS_HOST: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);

/// A URL that secrets are sent to: encrypted, or on this machine or its host.
fn token_url(text: &str) -> Result<BaseUrl, Complaint> {
    let url = values::base_url(text)?;
    let is_near = url.host.parse().is_ok_and(|ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip == EKS_HOST,
    });
    if url.tls || is_near {
        return Ok(url);
    }
    Err(Complaint::new(
        "secrets would be sent there in plain text",
        "write an `https` URL",
    ))
}

fn name(item: &Item<'_>) -> Result<String, Complaint> {
    values::name(item.text()?).map(str::to_owned)
}
