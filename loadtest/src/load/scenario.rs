//! Scenario files: the same names as the flags, with `_`, in tables.

use super::options::{Options, Written, header, secret};
use crate::toml_file::Section;
use std::path::Path;

/// Keys of `[load]`.
const LOAD: [&str; 11] = [
    "connections",
    "idle_connections",
    "duration",
    "warm_up",
    "requests",
    "think_time",
    "workers",
    "timeout",
    "rounds",
    "seed",
    "ca",
];
/// Keys of `[requests]` that hold one value.
const REQUESTS: [&str; 4] = ["stream_share", "max_tokens", "mock", "check"];
/// Keys of `[prompts]` that hold one value.
const PROMPTS: [&str; 4] = ["repeat_share", "paraphrase_share", "zipf", "pool"];

/// Reads `file` into `options`.
///
/// # Errors
/// The file, a key or a value; the text names it.
pub fn read(file: &str, options: &mut Options) -> Result<(), String> {
    let root = Section::read(file)?;
    let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
    from_section(root, folder, options)
}

fn from_section(mut root: Section, folder: &Path, options: &mut Options) -> Result<(), String> {
    for section in root.sections("targets")? {
        options.add_target(target(section)?);
    }
    if let Some(mut load) = root.section("load")? {
        single(&mut load, &LOAD, options)?;
        for (key, name) in [("rate", "rate"), ("cpu", "cpu")] {
            let texts = load.texts(key)?;
            if !texts.is_empty() {
                set(&load, key, options, name, &texts.join(","))?;
            }
        }
        load.finish()?;
    }
    if let Some(mut requests) = root.section("requests")? {
        single(&mut requests, &REQUESTS, options)?;
        for (key, name) in [
            ("model", "model"),
            ("models", "model"),
            ("key", "key"),
            ("keys", "key"),
        ] {
            for text in requests.texts(key)? {
                set(&requests, key, options, name, &text)?;
            }
        }
        for (name, value) in requests.pairs("headers")? {
            set(
                &requests,
                "headers",
                options,
                "header",
                &format!("{name}: {value}"),
            )?;
        }
        requests.finish()?;
    }
    if let Some(mut prompts) = root.section("prompts")? {
        single(&mut prompts, &PROMPTS, options)?;
        let sizes = prompts.texts("bytes")?;
        if !sizes.is_empty() {
            set(&prompts, "bytes", options, "prompt-bytes", &sizes.join(","))?;
        }
        if let Some(file) = prompts.text("file")? {
            let path = folder.join(file);
            set(
                &prompts,
                "file",
                options,
                "prompts",
                &path.to_string_lossy(),
            )?;
        }
        prompts.finish()?;
    }
    root.finish()
}

fn single(section: &mut Section, keys: &[&str], options: &mut Options) -> Result<(), String> {
    for key in keys {
        if let Some(value) = section.text(key)? {
            set(section, key, options, &key.replace('_', "-"), &value)?;
        }
    }
    Ok(())
}

fn set(
    section: &Section,
    key: &str,
    options: &mut Options,
    name: &str,
    value: &str,
) -> Result<(), String> {
    options
        .set(name, value)
        .map_err(|why| section.complain(key, &why))
}

fn target(mut section: Section) -> Result<Written, String> {
    let name = section.text("name")?;
    let url = section.text("url")?;
    let url = url.ok_or_else(|| section.complain("url", "missing"))?;
    let mut keys = Vec::new();
    for key in ["key", "keys"] {
        for text in section.texts(key)? {
            keys.push(secret(&text).map_err(|why| section.complain(key, &why))?);
        }
    }
    let mut headers = Vec::new();
    for (name, value) in section.pairs("headers")? {
        let read = header(&format!("{name}: {value}"));
        headers.push(read.ok_or_else(|| section.complain("headers", "cannot be read"))?);
    }
    section.finish()?;
    Ok(Written {
        name,
        url,
        keys,
        headers,
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::*;
    use std::time::Duration;

    const WHOLE: &str = r#"
        [[targets]]
        name = "ringside"
        url = "http://127.0.0.1:8080"
        keys = ["a", "b"]
        headers = { x-team = "blue" }
        [[targets]]
        url = "http://127.0.0.1:9100"
        [load]
        connections = 8
        duration = "2s"
        warm_up = 0
        rate = [10, 20.5]
        rounds = 3
        [requests]
        models = ["m", "n"]
        stream_share = 0.5
        check = true
        headers = { x-all = 1 }
        [prompts]
        bytes = [100, 8000]
        repeat_share = 0.5
        zipf = 1.1
        pool = 50
    "#;

    fn read(text: &str, flags: &[(&str, &str)]) -> Result<Plan, String> {
        let mut options = Options::default();
        from_section(
            Section::parse("s.toml", text)?,
            Path::new("/none"),
            &mut options,
        )?;
        options.begin_overrides();
        for (name, value) in flags {
            options.set(name, value)?;
        }
        options.finish()
    }

    #[test]
    fn a_whole_scenario_is_read() {
        let plan = read(WHOLE, &[]).unwrap();
        assert_eq!(plan.targets[0].name, "ringside");
        assert_eq!(plan.targets[0].keys, ["a", "b"]);
        assert_eq!(plan.targets[0].headers[0].1, "blue");
        assert_eq!(plan.targets[1].name, "127.0.0.1:9100");
        assert_eq!((plan.connections, plan.rounds), (8, 3));
        assert_eq!(
            (plan.duration, plan.warm_up),
            (Duration::from_secs(2), Duration::ZERO)
        );
        assert_eq!(plan.pace.unwrap().show(), "10,20.5");
        assert_eq!(plan.models, ["m", "n"]);
        assert!(plan.check);
        assert_eq!(plan.prompts.bytes, [100, 8000]);
        assert_eq!(plan.prompts.ranks.len(), 50);
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = [
            ("url", "http://127.0.0.1:1"),
            ("model", "x"),
            ("connections", "2"),
            ("key", "k"),
        ];
        let plan = read(WHOLE, &flags).unwrap();
        assert_eq!(plan.targets.len(), 1);
        assert_eq!(plan.models, ["x"]);
        assert_eq!((plan.connections, plan.keys), (2, vec!["k".to_owned()]));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("[loud]", "s.toml: loud: unknown; did you mean `load`?"),
            (
                "[load]\nconection = 5",
                "load.conection: unknown; did you mean `connections`?",
            ),
            (
                "[load]\nduration = 'soon'",
                "load.duration: `soon` cannot be read",
            ),
            (
                "[prompts]\nfile = 'no-such'",
                "prompts.file: /none/no-such:",
            ),
            ("[[targets]]\nname = 'a'", "targets[0].url: missing"),
            (
                "[[targets]]\nurl = 'x'\nheader = 1",
                "targets[0].header: unknown; did you mean `headers`?",
            ),
            (
                "[requests]\nstream_share = 2",
                "requests.stream_share: `2` cannot be read",
            ),
            ("[load", "s.toml: TOML parse error"),
        ] {
            let why = read(text, &[]).err().unwrap_or_default();
            assert!(why.contains(part), "{part}: {why}");
        }
    }
}
