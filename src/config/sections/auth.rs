//! `auth = { … }` of a provider: credentials that sign requests, or that are renewed.
//!
//! It must not know how they are used; whether they can be used is checked here, while the file can be corrected.

use crate::config::base_url::{BaseUrl, base_url};
use crate::config::context::Context;
use crate::config::documentation::KeyDoc;
use crate::config::key::{Field, key};
use crate::config::names::KnownNames;
use crate::config::notation::{Notation, name, read_name, secret, written};
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section};
use crate::config::secret::{Renewable, Secret};
use crate::config::settings::{Settings, flattened, settings};
use crate::config::suggest::suggest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::RsaKeyPair;
use std::net::{IpAddr, Ipv6Addr};

/// Credentials that are not one fixed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Requests are signed.
    Aws(AwsAuth),
    /// A bearer token for a Google service account.
    Google(GoogleAuth),
    /// A bearer token for an application in Microsoft Entra.
    Entra(EntraAuth),
}

impl Auth {
    /// Where they are fetched; `None` for those that stand in the configuration.
    #[must_use]
    pub fn token_url(&self) -> Option<&BaseUrl> {
        match self {
            Self::Aws(aws) => match &aws.source {
                AwsSource::Fixed(_) => None,
                AwsSource::Container(container) => Some(&container.url),
            },
            Self::Google(google) => Some(&google.token_url),
            Self::Entra(entra) => Some(&entra.token_url),
        }
    }
}

/// `kind = "aws"` and `kind = "aws-container"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsAuth {
    /// What requests are signed for.
    pub scope: AwsScope,
    /// Where the keys come from.
    pub source: AwsSource,
}

/// Where AWS keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsSource {
    /// The configuration.
    Fixed(AwsKeys),
    /// An endpoint of the container's host (ECS, EKS Pod Identity).
    Container(AwsContainer),
}

settings! {
    /// What AWS signatures are made for.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AwsScope {
        /// region that is signed for
        pub region: String = key("region", name())
            .required("add the region that requests are signed for, e.g. `region = \"eu-central-1\"`");
        // Service name of Bedrock's runtime in AWS signatures.
        /// service that is signed for
        pub service: String = key("service", name()).default("bedrock".to_owned());
    }
}

settings! {
    /// AWS keys in the configuration.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AwsKeys {
        /// public part of the keys
        pub access_key_id: Secret = key("access_key_id", secret())
            .required("add a reference, e.g. `access_key_id = \"env:AWS_ACCESS_KEY_ID\"`");
        /// secret part of the keys
        pub secret_access_key: Secret = key("secret_access_key", secret())
            .required("add a reference, e.g. `secret_access_key = \"env:AWS_SECRET_ACCESS_KEY\"`");
        /// of temporary keys; a reload takes over new ones
        pub session_token: Option<Secret> = key("session_token", secret()).optional("–");
    }
}

settings! {
    /// AWS keys from the container's host.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AwsContainer {
        /// endpoint of the container's host, as ECS and EKS Pod Identity give it in `AWS_CONTAINER_CREDENTIALS_FULL_URI`
        pub url: BaseUrl = key("url", token_url()).required(
            "add the endpoint that the container's environment names in AWS_CONTAINER_CREDENTIALS_FULL_URI, or \
             `http://169.254.170.2` and the path in AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        );
        /// value of its `authorization` header; a file is read again each time
        pub token: Option<Renewable> = key("token", renewable()).optional("–");
    }
}

settings! {
    struct FixedAws {
        /// Region and service.
        scope: AwsScope = flattened::<AwsScope>();
        /// Keys.
        keys: AwsKeys = flattened::<AwsKeys>();
    }
}

settings! {
    struct ContainerAws {
        /// Region and service.
        scope: AwsScope = flattened::<AwsScope>();
        /// Endpoint.
        container: AwsContainer = flattened::<AwsContainer>();
    }
}

settings! {
    struct Google {
        /// the JSON key of a service account
        account: GoogleAuth = key("service_account", service_account()).required(
            "add the account's key file, e.g. `service_account = \"file:service-account.json\"`",
        );
        // Vertex AI (cloud.google.com, "OAuth 2.0 Scopes for Google APIs").
        /// what the token is for
        scope: String = key("scope", name())
            .default("https://www.googleapis.com/auth/cloud-platform".to_owned());
    }
}

settings! {
    struct Entra {
        /// directory
        tenant: String = key("tenant", tenant()).required(
            "add the directory (tenant) id, e.g. `tenant = \"72f988bf-86f1-41af-91ab-2d7cd011db47\"`",
        );
        /// application
        client_id: String = key("client_id", name())
            .required("add the application (client) id of the app registration");
        /// secret of the application
        client_secret: Secret = key("client_secret", secret())
            .required("add a reference, e.g. `client_secret = \"env:AZURE_CLIENT_SECRET\"`");
        // Azure OpenAI (learn.microsoft.com, "How to configure Azure OpenAI with Microsoft Entra ID").
        /// what the token is for
        scope: String = key("scope", name()).default("https://cognitiveservices.azure.com/.default".to_owned());
        // Microsoft's public cloud.
        /// host that issues tokens
        authority: BaseUrl = key("authority", token_url())
            .otherwise("`\"https://login.microsoftonline.com\"`", |_, _| {
                base_url("https://login.microsoftonline.com").ok()
            });
    }
}

/// `kind = "google"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleAuth {
    /// The account's e-mail address.
    pub email: String,
    /// Id of the key.
    pub key_id: Option<String>,
    /// Private key, PKCS#8 DER in base64 without line breaks.
    pub key: Secret,
    /// Where tokens are issued.
    pub token_url: BaseUrl,
    /// What the token is for.
    pub scope: String,
}

/// `kind = "entra"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntraAuth {
    /// Where tokens are issued.
    pub token_url: BaseUrl,
    /// Application (client) id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: Secret,
    /// What the token is for.
    pub scope: String,
}

impl From<FixedAws> for Auth {
    fn from(written: FixedAws) -> Self {
        Self::Aws(AwsAuth {
            scope: written.scope,
            source: AwsSource::Fixed(written.keys),
        })
    }
}

impl From<ContainerAws> for Auth {
    fn from(written: ContainerAws) -> Self {
        Self::Aws(AwsAuth {
            scope: written.scope,
            source: AwsSource::Container(written.container),
        })
    }
}

impl From<Google> for Auth {
    fn from(written: Google) -> Self {
        Self::Google(GoogleAuth {
            scope: written.scope,
            ..written.account
        })
    }
}

impl From<Entra> for Auth {
    fn from(written: Entra) -> Self {
        let Entra {
            tenant,
            client_id,
            client_secret,
            scope,
            authority,
        } = written;
        let path = format!("{}/{tenant}/oauth2/v2.0/token", authority.path);
        Self::Entra(EntraAuth {
            token_url: BaseUrl { path, ..authority },
            client_id,
            client_secret,
            scope,
        })
    }
}

/// The section `auth`, whose keys depend on its `kind`. A reload applies all of them.
pub(crate) struct AuthSection;

/// The keys of one `kind`.
struct KindOfAuth {
    name: &'static str,
    read: fn(&mut Section<'_>, &Context<'_>) -> Option<Auth>,
    document: fn(&str, &KnownNames<'_>, &mut Vec<KeyDoc>),
}

const KINDS: [KindOfAuth; 4] = [
    KindOfAuth::new::<FixedAws>("aws"),
    KindOfAuth::new::<ContainerAws>("aws-container"),
    KindOfAuth::new::<Google>("google"),
    KindOfAuth::new::<Entra>("entra"),
];

impl KindOfAuth {
    const fn new<S: Settings + Into<Auth>>(name: &'static str) -> Self {
        Self {
            name,
            read: |section, context| S::read(section, context).map(S::into),
            document: S::document,
        }
    }
}

impl Field<Option<Auth>> for AuthSection {
    fn read(&self, section: &mut Section<'_>, context: &Context<'_>) -> Option<Option<Auth>> {
        let is_written = section.peek("auth").is_some();
        let mut section = section.section("auth");
        if !section.is_present() {
            return (!is_written).then_some(None);
        }
        let kind = section.require("kind", "add the kind, e.g. `kind = \"aws\"`", |item| {
            let text = item.text()?;
            let known = KINDS.into_iter().find(|kind| kind.name == text);
            known.ok_or_else(|| {
                Complaint::new(
                    format!("there is no kind `{text}`"),
                    suggest(text, || KINDS.into_iter().map(|kind| kind.name)),
                )
            })
        })?;
        let auth = (kind.read)(&mut section, context);
        section.finish();
        auth.map(Some)
    }

    fn document(&self, _: &str, prefix: &str, known: &KnownNames<'_>, keys: &mut Vec<KeyDoc>) {
        let names = KINDS.map(|kind| format!("`{}`", kind.name));
        keys.push(KeyDoc {
            path: format!("{prefix}auth.kind"),
            kind: None,
            default: "required with `auth`".into(),
            bounds: names.join(", "),
            needs_restart: false,
            meaning: "credentials that sign each request or are renewed, instead of `api_keys`"
                .into(),
        });
        for kind in KINDS {
            let first = keys.len();
            (kind.document)(&format!("{prefix}auth."), known, keys);
            for key in keys.iter_mut().skip(first) {
                key.kind = Some(kind.name);
            }
        }
    }

    fn restarts(&self, _: &Option<Auth>, _: &Option<Auth>, _: &str, _: &mut Vec<String>) {}
}

fn renewable() -> Notation<Renewable> {
    written("reference", |item, context| {
        context.references.renewable(item.text()?)
    })
}

fn service_account() -> Notation<GoogleAuth> {
    written("reference", |item, context| {
        read_service_account(&context.references.document(item.text()?)?)
    })
}

/// A key file as the Google Cloud console gives it; no message quotes it.
fn read_service_account(json: &str) -> Result<GoogleAuth, Complaint> {
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
        token_url: read_token_url(need("token_uri")?)?,
        scope: String::new(),
    })
}

fn tenant() -> Notation<String> {
    written("name", |item: &Item<'_>, _| {
        let tenant = read_name(item)?;
        if tenant.contains('/') {
            return Err(Complaint::new(
                "'/' cannot stand in a tenant",
                "write the directory (tenant) id alone",
            ));
        }
        Ok(tenant)
    })
}

fn token_url() -> Notation<BaseUrl> {
    written(
        "`https` URL, or a loopback or link-local address",
        |item, _| read_token_url(item.text()?),
    )
}

/// Address of the EKS Pod Identity Agent over IPv6 (docs.aws.amazon.com, "EKS Pod Identity Agent").
const EKS_HOST: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);

/// A URL that secrets are sent to: encrypted, or on this machine or its host.
fn read_token_url(text: &str) -> Result<BaseUrl, Complaint> {
    let url = base_url(text)?;
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
