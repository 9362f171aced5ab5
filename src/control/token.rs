//! Requests for tokens to identity providers, and their responses. Pure: no sockets, no clock.
//!
//! Google: "Using OAuth 2.0 for Server to Server Applications" (RFC 7523). Entra: "OAuth 2.0 client
//! credentials flow" (RFC 6749, 4.4). AWS: "Container credential provider".

use crate::config::sections::auth::{Auth, AwsSource, EntraAuth, GoogleAuth};
use crate::control::http_call::{HttpCall, HttpResponse};
use crate::http::percent::push_escaped;
use crate::http::retry_after::date;
use crate::signing::sigv4::AwsKeys;
use crate::upstream::credentials::Credential;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

/// How long an assertion is valid, in seconds: the most that Google accepts.
const ASSERTION_SECONDS: u64 = 3600;

/// The request for credentials of `source` at `now` (seconds since the Unix epoch); `authorization` is the
/// secret of a container. `None` for those that are fixed.
///
/// # Errors
/// The key cannot sign.
pub(crate) fn request(
    source: &Auth,
    now: u64,
    authorization: Option<String>,
) -> Result<Option<HttpCall>, String> {
    let form = match source {
        Auth::Google(google) => Some(google_form(google, now)?),
        Auth::Entra(entra) => Some(entra_form(entra)),
        Auth::Aws(_) => None,
    };
    Ok(source.token_url().map(|url| HttpCall {
        url: url.clone(),
        form,
        authorization,
    }))
}

fn google_form(google: &GoogleAuth, now: u64) -> Result<String, String> {
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": google.key_id });
    let url = &google.token_url;
    let scheme = if url.tls { "https" } else { "http" };
    let claims = json!({
        "iss": google.email,
        "scope": google.scope,
        "aud": format!("{scheme}://{}{}", url.authority, url.path),
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let unusable = "the private key cannot sign";
    let der = STANDARD.decode(&google.key.0).map_err(|_| unusable)?;
    let key = RsaKeyPair::from_pkcs8(&der).map_err(|_| unusable)?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .map_err(|_| unusable)?;
    let signature = URL_SAFE_NO_PAD.encode(signature);
    Ok(form(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", &format!("{signed}.{signature}")),
    ]))
}

fn entra_form(entra: &EntraAuth) -> String {
    form(&[
        ("grant_type", "client_credentials"),
        ("client_id", &entra.client_id),
        ("client_secret", &entra.client_secret.0),
        ("scope", &entra.scope),
    ])
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (nth, (name, value)) in fields.iter().enumerate() {
        if nth > 0 {
            out.push('&');
        }
        push_escaped(name, b"", &mut out);
        out.push('=');
        push_escaped(value, b"", &mut out);
    }
    out
}

/// The credentials in a response to a request sent at `now`, and when they expire.
///
/// # Errors
/// Says what is wrong with the response; of its text only the error code is repeated.
pub(crate) fn read(
    source: &Auth,
    response: &HttpResponse,
    now: u64,
) -> Result<(Credential, u64), String> {
    let document: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if response.status != 200 {
        let code = document["error"].as_str().or(document["code"].as_str());
        let code = code.filter(|code| is_plain(code) && code.len() <= 64);
        return Err(match code {
            Some(code) => format!("status {} ({code})", response.status),
            None => format!("status {}", response.status),
        });
    }
    let text = |name: &str| {
        let text = document[name].as_str().filter(|text| is_plain(text));
        text.ok_or_else(|| format!("the response has no usable `{name}`"))
    };
    let (held, expires_at) = match source {
        Auth::Aws(aws) => {
            let token = match (&aws.source, document["Token"].is_null()) {
                (AwsSource::Container(_), false) => Some(text("Token")?),
                _ => None,
            };
            let keys = AwsKeys::new(text("AccessKeyId")?, text("SecretAccessKey")?, token);
            let expires_at = date(text("Expiration")?).map(|at| at as u64);
            (Credential::Aws(keys), expires_at)
        }
        Auth::Google(_) | Auth::Entra(_) => {
            let seconds = &document["expires_in"];
            let seconds = seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok());
            let expires_at = seconds.and_then(|seconds| now.checked_add(seconds));
            (
                Credential::Token(text("access_token")?.to_owned()),
                expires_at,
            )
        }
    };
    match expires_at {
        Some(at) if at > now => Ok((held, at)),
        Some(_) => Err("the response's credentials have expired already".into()),
        None => Err("the response does not say when its credentials expire".into()),
    }
}

/// Can stand in a header.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
