//! Whether a browser sends a request for a page that has no business here. A page can make the browser of an operator send
//! requests to this machine (cross-site requests), and can give its own name the address of this machine (DNS
//! rebinding), after which the browser takes both for one site. The browser says in `host`, `origin` and
//! `sec-fetch-site` for whom it asks.

use std::net::IpAddr;

/// Names of this machine that nobody else can register: the name itself, and how containers reach their host.
const LOCAL_NAMES: [&str; 3] = [
    "localhost",
    "host.docker.internal",
    "host.containers.internal",
];
/// Schemes of origins that belong to applications of this machine, not to pages of the network.
const APP_SCHEMES: [&str; 5] = ["app", "file", "tauri", "vscode-file", "vscode-webview"];

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It names a host that is not this one.
    Host,
    /// It comes from a page of another site.
    Origin,
}

/// The origins that may send requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origins {
    /// Only pages of the host that the request names.
    OwnHost,
    /// Pages of any port of this machine, and applications.
    ThisMachine,
}

/// Refuses a request that a browser sends for a foreign page. `values` returns all values of a header; `names` are host
/// names that are allowed beside addresses and names of this machine.
pub(crate) fn check<'r, V>(
    values: impl Fn(&'static str) -> V,
    names: &[String],
    origins: Origins,
) -> Result<(), Refusal>
where
    V: Iterator<Item = &'r [u8]>,
{
    if !values("host").all(|host| is_own_host(host, names)) {
        return Err(Refusal::Host);
    }
    let mut has_origin = false;
    for origin in values("origin") {
        has_origin = true;
        let is_allowed = match origins {
            Origins::OwnHost => {
                let authority = authority(origin).map(|(_, authority)| authority);
                let own = values("host").next();
                authority.is_some_and(|it| own.is_some_and(|own| it.eq_ignore_ascii_case(own)))
            }
            Origins::ThisMachine => is_local_origin(origin, names),
        };
        if !is_allowed {
            return Err(Refusal::Origin);
        }
    }
    let is_foreign = |site: &[u8]| match origins {
        Origins::OwnHost => site != b"same-origin" && site != b"none",
        // Two names of this machine are two sites for a browser; the origin has been judged.
        Origins::ThisMachine => site == b"cross-site" && !has_origin,
    };
    if values("sec-fetch-site").any(is_foreign) {
        return Err(Refusal::Origin);
    }
    Ok(())
}

/// Scheme and authority of an origin; `None` for `null`, which any page can send.
fn authority(origin: &[u8]) -> Option<(&str, &[u8])> {
    let at = memchr::memmem::find(origin, b"://")?;
    let scheme = std::str::from_utf8(origin.get(..at)?).ok()?;
    Some((scheme, origin.get(at + 3..)?))
}

fn is_local_origin(origin: &[u8], names: &[String]) -> bool {
    let Some((scheme, authority)) = authority(origin) else {
        return false;
    };
    if APP_SCHEMES.contains(&scheme) {
        return true;
    }
    let Some(host) = host_of(authority).filter(|_| scheme == "http" || scheme == "https") else {
        return false;
    };
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => is_local_name(host, names),
    }
}

fn is_own_host(host: &[u8], names: &[String]) -> bool {
    host_of(host).is_some_and(|host| host.parse::<IpAddr>().is_ok() || is_local_name(host, names))
}

fn is_local_name(host: &str, names: &[String]) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let suffix = host.len().checked_sub(".localhost".len());
    let suffix = suffix.and_then(|at| host.get(at..));
    suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(".localhost"))
        || LOCAL_NAMES
            .iter()
            .any(|name| host.eq_ignore_ascii_case(name))
        || names.iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// The host of `host[:port]`, without the brackets of an IPv6 address.
fn host_of(authority: &[u8]) -> Option<&str> {
    let authority = std::str::from_utf8(authority).ok()?;
    let (host, rest) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => match authority.find(':') {
            Some(at) => authority.split_at(at),
            None => (authority, ""),
        },
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let has_port = rest.strip_prefix(':').is_some_and(is_port);
    (rest.is_empty() || has_port).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(headers: &[(&str, &str)], origins: Origins) -> Result<(), Refusal> {
        let names = ["ringside".to_owned(), "admin.example".to_owned()];
        let values = |name: &'static str| {
            headers
                .iter()
                .filter(move |(header, _)| *header == name)
                .map(|(_, value)| value.as_bytes())
                .collect::<Vec<_>>()
                .into_iter()
        };
        check(values, &names, origins)
    }

    #[test]
    fn hosts_are_addresses_local_names_and_configured_names() {
        let own = [
            "127.0.0.1:9090",
            "10.1.2.3",
            "[::1]:9090",
            "[2001:db8::1]",
            "localhost",
            "LocalHost:80",
            "localhost.",
            "app.localhost:1",
            "ringside:9090",
            "Admin.Example",
        ];
        for host in own {
            for origins in [Origins::OwnHost, Origins::ThisMachine] {
                assert_eq!(judge(&[("host", host)], origins), Ok(()), "{host}");
            }
        }
        let foreign = [
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1@evil.example",
            "localhost:80:evil",
            "localhost:evil.example",
            "[::1].evil.example",
            "admin.example.evil.example",
            "",
        ];
        for host in foreign {
            let refused = judge(&[("host", host)], Origins::ThisMachine);
            assert_eq!(refused, Err(Refusal::Host), "{host}");
        }
        let both = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(judge(&both, Origins::OwnHost), Err(Refusal::Host));
        assert_eq!(judge(&[], Origins::OwnHost), Ok(()));
    }

    #[test]
    fn an_origin_is_the_own_host_or_this_machine() {
        let host = ("host", "127.0.0.1:9090");
        let cases = [
            ("http://127.0.0.1:9090", true, true),
            ("https://127.0.0.1:9090", true, true),
            ("http://127.0.0.1:3000", false, true),
            ("http://localhost:3000", false, true),
            ("http://[::1]:3000", false, true),
            ("http://ringside", false, true),
            ("app://obsidian.md", false, true),
            ("http://10.0.0.1", false, false),
            ("http://evil.example", false, false),
            ("http://localhost.evil.example", false, false),
            ("chrome-extension://abc", false, false),
            ("ftp://localhost", false, false),
            ("null", false, false),
            ("", false, false),
        ];
        for (origin, of_host, of_machine) in cases {
            let headers = [host, ("origin", origin)];
            let expected = |is_allowed| {
                if is_allowed {
                    Ok(())
                } else {
                    Err(Refusal::Origin)
                }
            };
            assert_eq!(
                judge(&headers, Origins::OwnHost),
                expected(of_host),
                "{origin}"
            );
            let judged = judge(&headers, Origins::ThisMachine);
            assert_eq!(judged, expected(of_machine), "{origin}");
        }
    }

    #[test]
    fn a_request_without_an_origin_is_judged_by_its_site() {
        let host = ("host", "localhost");
        let site = |site, origins| judge(&[host, ("sec-fetch-site", site)], origins);
        for (name, of_host, of_machine) in [
            ("none", true, true),
            ("same-origin", true, true),
            ("same-site", false, true),
            ("cross-site", false, false),
        ] {
            assert_eq!(site(name, Origins::OwnHost).is_ok(), of_host, "{name}");
            assert_eq!(
                site(name, Origins::ThisMachine).is_ok(),
                of_machine,
                "{name}"
            );
        }
        let app = [
            host,
            ("origin", "http://127.0.0.1:3000"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(judge(&app, Origins::ThisMachine), Ok(()));
    }
}
