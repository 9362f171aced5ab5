//! The notations of single values: sizes, durations, addresses, URLs, names.
//!
//! It must not know which key a value belongs to, nor its bounds.

use crate::config::limits;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::model::config::{BaseUrl, Listen};
use crate::config::problem::Complaint;

const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
const DURATION_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Bytes, from e.g. `20MiB`.
pub(crate) fn size(text: &str) -> Result<u64, Complaint> {
    scaled(text, &SIZE_UNITS).ok_or_else(|| {
        Complaint::new(
            format!("`{text}` is not a size"),
            "write a whole number and B, KiB, MiB or GiB without a space, e.g. \"20MiB\"",
        )
    })
}

/// A duration, from e.g. `250ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, Complaint> {
    scaled(text, &DURATION_UNITS)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            Complaint::new(
                format!("`{text}` is not a duration"),
                "write a whole number and ms, s, m or h without a space, e.g. \"250ms\" or \"5m\"",
            )
        })
}

/// The number in front, times its unit.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(digits_end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

/// US dollars in nano-dollars, from a plain decimal number.
pub(crate) fn nanodollars(digits: &str) -> Option<u64> {
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let whole = whole.strip_prefix('+').unwrap_or(whole);
    if !is_plain(whole) || !is_plain(decimals) || decimals.len() > limits::PRICE_DECIMALS {
        return None;
    }
    let dollars: u64 = whole.parse().ok()?;
    let nano: u64 = format!("{decimals:0<width$}", width = limits::PRICE_DECIMALS)
        .parse()
        .ok()?;
    (dollars < limits::PRICE_DOLLARS_MAX).then(|| dollars * 1_000_000_000 + nano)
}

/// Bytes in the largest unit that divides them.
pub(crate) fn show_size(bytes: usize) -> String {
    show(bytes as u64, &SIZE_UNITS)
}

/// A duration in the largest unit that divides it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(millis, &DURATION_UNITS)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
        .map_or_else(
            || format!("{value}{}", units.last().map_or("", |(unit, _)| unit)),
            |(unit, factor)| format!("{}{unit}", value / factor),
        )
}

/// `host:port` or `unix:/path`.
pub(crate) fn listen(text: &str) -> Result<Listen, Complaint> {
    let Some(path) = text.strip_prefix("unix:") else {
        return socket_address(text).map(Listen::Tcp);
    };
    let longest = limits::UNIX_PATH_BYTES_MAX;
    if path.is_empty() || path.len() > longest || path.contains('\0') {
        return Err(Complaint::new(
            format!("a socket path has 1 to {longest} bytes (limit UNIX_PATH_BYTES_MAX)"),
            "write e.g. \"unix:/run/ringside.sock\"",
        ));
    }
    Ok(Listen::Unix(PathBuf::from(path)))
}

/// `host:port`, the host being an IP address: a name could resolve to more than was meant.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, Complaint> {
    text.parse().map_err(|_| {
        let port = text
            .rsplit_once(':')
            .map(|(_, port)| port)
            .filter(|port| port.parse::<u16>().is_ok())
            .unwrap_or("PORT");
        Complaint::new(
            format!("`{text}` is not an IP address with a port"),
            format!(
                "write \"127.0.0.1:{port}\" for this machine only, \"0.0.0.0:{port}\" for every \
                 IPv4 address, or \"[::]:{port}\" for every address"
            ),
        )
    })
}

/// A name that can stand in headers, metrics, logs and JSON without quoting.
pub(crate) fn name(text: &str) -> Result<&str, Complaint> {
    let longest = limits::NAME_BYTES_MAX;
    if text.is_empty() || text.len() > longest {
        return Err(Complaint::new(
            format!("a name has 1 to {longest} bytes (limit NAME_BYTES_MAX)"),
            "choose a shorter name that is not empty",
        ));
    }
    // A comma separates the names in `x-ringside-models`.
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ',');
    match text.chars().find(|c| !plain(*c)) {
        None => Ok(text),
        Some(c) => Err(Complaint::new(
            format!("{c:?} cannot stand in a name: names go into headers and metrics"),
            "use letters, digits and `-`, `_`, `.`, `:`, `/`",
        )),
    }
}

/// Scheme, host, optional port and path prefix of a provider.
pub(crate) fn base_url(text: &str) -> Result<BaseUrl, Complaint> {
    // The URL itself is not told: what is wrong may be a password in it.
    let wrong = |what: &str| {
        Complaint::new(
            what,
            "write scheme, host, optional port and path prefix, e.g. \"https://api.openai.com/v1\"",
        )
    };
    if text.len() > limits::BASE_URL_BYTES_MAX {
        return Err(wrong("the URL is too long (limit BASE_URL_BYTES_MAX)"));
    }
    if text.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(wrong("the URL holds a blank or a character outside ASCII"));
    }
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| wrong("the URL has no scheme"))?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return Err(wrong("the URL's scheme is neither `https` nor `http`")),
    };
    if let Some(c) = rest.chars().find(|c| "?#\\\"<>^`{|}".contains(*c)) {
        return Err(wrong(&format!(
            "`{c}` in the URL: it has a host and a path, no query and no fragment"
        )));
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(wrong(
            "a user or password in the URL: credentials go into `api_keys`",
        ));
    }
    let (host, port) = host_and_port(authority).map_err(wrong)?;
    let default_port = if tls { 443 } else { 80 };
    let bracketed = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    Ok(BaseUrl {
        tls,
        port: port.unwrap_or(default_port),
        path: path.trim_end_matches('/').to_owned(),
        authority: match port {
            Some(port) if port != default_port => format!("{bracketed}:{port}"),
            _ => bracketed,
        },
        host,
    })
}

/// Host in lower case without brackets, and the port if there is one.
fn host_and_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the URL's `[` is not closed")?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| "the URL's brackets hold no IPv6 address")?;
            match rest.strip_prefix(':') {
                None if !rest.is_empty() => return Err("something follows the URL's `]`"),
                port => (host, port),
            }
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            if !is_host(host) {
                return Err("the URL has no valid host");
            }
            (host, port)
        }
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse::<u16>().ok().filter(|port| *port > 0);
            Some(port.ok_or("the URL's port is outside 1 to 65535")?)
        }
        Some(_) => return Err("the URL's port is no number"),
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// A DNS name or an IPv4 address.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= limits::HOST_BYTES_MAX
        && name.split('.').all(label)
        // A name that ends in digits only is an address, and then must be a whole one.
        && (!name.rsplit('.').next().is_some_and(numeric) || host.parse::<Ipv4Addr>().is_ok())
}

/// True when one of the two could not be bound beside the other.
pub(crate) fn overlap(a: &SocketAddr, b: &SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    let same_ip = a.ip() == b.ip() || (a.is_ipv4() == b.is_ipv4() && (any(a.ip()) || any(b.ip())));
    a.port() != 0 && a.port() == b.port() && same_ip
}

/// The candidate that `wrong` was most likely meant to be.
pub(crate) fn nearest<'c>(
    wrong: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wrong = plain(wrong);
    let words = |text: &str| {
        let mut words: Vec<String> = text.split('_').map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    // One slip in three letters is a slip; more is another word.
    let slips_max = (wrong.chars().count() / 3).max(1);
    let slips = |candidate: &str| {
        let candidate = plain(candidate);
        let slips = strsim::damerau_levenshtein(&wrong, &candidate);
        if slips <= slips_max && slips < candidate.chars().count() {
            return Some(slips);
        }
        // `max_body` for `body_max`, `memory` for `memory_max`: worse than any slip.
        let related = words(&wrong) == words(&candidate)
            || (wrong.len() >= 3 && candidate.contains(&wrong))
            || (candidate.len() >= 3 && wrong.contains(&candidate));
        related.then_some(usize::MAX)
    };
    candidates
        .filter_map(|candidate| Some((slips(candidate)?, candidate)))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read_and_shown() {
        for text in ["0B", "1B", "512KiB", "20MiB", "1GiB"] {
            assert_eq!(show_size(size(text).unwrap() as usize), text);
        }
        for text in ["0ms", "250ms", "1s", "5m", "1h"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        assert_eq!(show_size(1536), "1536B");
        assert_eq!(duration("60s").unwrap(), duration("1m").unwrap());
    }

    #[test]
    fn sizes_and_durations_of_other_notations_are_refused() {
        for text in [
            "",
            "20",
            "MiB",
            "20 MiB",
            "20MB",
            "-1KiB",
            "1.5GiB",
            "99999999999GiB",
            "1é",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in [
            "",
            "1",
            "s",
            "1 s",
            "1d",
            "-1s",
            "1.5h",
            "1m30s",
            "9999999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn base_urls_are_split() {
        let cases = [
            (
                "https://api.openai.com/v1",
                (true, "api.openai.com", 443, "/v1", "api.openai.com"),
            ),
            ("HTTP://Mock:81/", (false, "mock", 81, "", "mock:81")),
            ("https://x:443", (true, "x", 443, "", "x")),
            (
                "http://[::1]:8000/a/b/",
                (false, "::1", 8000, "/a/b", "[::1]:8000"),
            ),
            (
                "http://127.0.0.1",
                (false, "127.0.0.1", 80, "", "127.0.0.1"),
            ),
        ];
        for (text, (tls, host, port, path, authority)) in cases {
            let expected = BaseUrl {
                tls,
                host: host.to_owned(),
                port,
                path: path.to_owned(),
                authority: authority.to_owned(),
            };
            assert_eq!(base_url(text).unwrap(), expected);
        }
    }

    #[test]
    fn wrong_base_urls_are_refused_without_being_told() {
        for text in [
            "",
            "api.openai.com",
            "ftp://x",
            "https://",
            "https:///v1",
            "https://u:hunter2@x",
            "https://x?a=hunter2",
            "https://x/#a",
            "https://x:0",
            "https://x:",
            "https://x:99999",
            "https://x:8o",
            "https://[::1",
            "https://[x]",
            "https://[::1]x",
            "https://a b",
            "https://a..b",
            "https://-a",
            "https://1.2.3",
            "https://1.2.3.999",
            "https://é",
            "https://x:+80",
            "https://::1/",
            "https://x\r\nhost: y",
        ] {
            let complaint = base_url(text).unwrap_err();
            assert!(!format!("{complaint:?}").contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn listeners_overlap_on_the_same_port() {
        let overlap = |a: &str, b: &str| overlap(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(overlap("127.0.0.1:80", "127.0.0.1:80"));
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80"));
        assert!(!overlap("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!overlap("127.0.0.1:80", "[::]:80"));
    }

    #[test]
    fn nearest_finds_slips_and_swapped_words() {
        let keys = ["listen", "body_max", "head_timeout", "memory_max", "tls"];
        let nearest = |wrong| nearest(wrong, keys.iter().copied());
        assert_eq!(nearest("lisen"), Some("listen"));
        assert_eq!(nearest("Head-Timeout"), Some("head_timeout"));
        assert_eq!(nearest("max_body"), Some("body_max"));
        assert_eq!(nearest("memory"), Some("memory_max"));
        assert_eq!(nearest("wrong_hit_rate_max"), None);
        assert_eq!(nearest(""), None);
    }
}
