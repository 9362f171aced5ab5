//! Values as they are written in a `ringside.toml`.

/// Text in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A duration given in seconds, in whole milliseconds and at least one.
pub(crate) fn duration(seconds: f64) -> String {
    let millis = (seconds * 1000.0).round().max(1.0) as u64;
    if millis.is_multiple_of(1000) {
        format!("\"{}s\"", millis / 1000)
    } else {
        format!("\"{millis}ms\"")
    }
}

/// A name that a configuration may hold: other characters become `-`.
pub(crate) fn name(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name = text.chars().map(|c| if fits(c) { c } else { '-' });
    name.collect()
}
