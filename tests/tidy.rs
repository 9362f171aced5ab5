//! The shape of the source, kept by a test: imports go one way, files are small and explained, and a
//! provider, guardrail or policy that is in no list is found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A module may import strictly lower levels.
const LEVELS: [(&str, u32); 21] = [
    ("runtime", 0),
    ("http", 0),
    ("config", 0),
    ("error", 0),
    ("signing", 1),
    ("import", 1),
    ("api", 1),
    ("embedding", 1),
    ("telemetry", 2),
    ("admission", 3),
    ("cache", 3),
    ("routing", 3),
    ("providers", 3),
    ("accounting", 3),
    ("listener", 4),
    ("upstream", 4),
    ("relay", 4),
    ("journey", 5),
    ("tune", 5),
    ("control", 6),
    ("main", 7),
];

/// Longest file, tests included.
const LINES_MAX: usize = 500;
/// Longest function.
const FUNCTION_LINES_MAX: usize = 70;

/// What only one folder may do, and why.
const ONLY_IN: [(&str, &[&str], &str); 8] = [
    (
        "monoio::",
        &["runtime"],
        "the runtime can be replaced in one folder",
    ),
    ("rustls::", &["runtime"], "TLS can be replaced in one file"),
    (
        "tokio::",
        &["control"],
        "the data plane does not run on tokio",
    ),
    (
        "ort::",
        &["embedding"],
        "one folder knows the inference engine",
    ),
    (
        "usearch::",
        &["embedding"],
        "one folder knows the vector index",
    ),
    (
        "Instant::now",
        &["runtime", "embedding", "cache"],
        "time is passed in",
    ),
    ("to_socket_addrs", &[], "look-ups block a core"),
    ("std::sync::Mutex", &[], "parking_lot does not poison"),
];

struct Source {
    module: String,
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let inside = path.strip_prefix(&root).unwrap();
                let first = inside.components().next().unwrap().as_os_str();
                let module = first.to_str().unwrap().trim_end_matches(".rs").to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                files.push(Source { module, path, text });
            }
        }
    }
    assert!(files.len() > 60);
    files
}

fn level(module: &str) -> Option<u32> {
    LEVELS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, level)| *level)
}

fn code_without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

fn uncommented(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for source in sources() {
        if source.module == "lib" {
            continue;
        }
        let own = level(&source.module).unwrap_or_else(|| panic!("{} has no level", source.module));
        let code = uncommented(code_without_tests(&source.text));
        for piece in code.split("crate::").skip(1) {
            let name: String = piece
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let Some(other) = level(&name) else {
                panic!("{}: crate::{name} has no level", source.path.display());
            };
            // A folder may name itself; otherwise strictly lower.
            if name != source.module && other >= own {
                wrong.push(format!("{} imports {name}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_one_folder_owns_stays_there() {
    let mut wrong = Vec::new();
    for source in sources() {
        let code = uncommented(code_without_tests(&source.text));
        for (text, folders, why) in ONLY_IN {
            let qualified = code.match_indices(text).any(|(at, _)| {
                // `crate::runtime::…` and names that merely end in the text do not count.
                !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                    || text == "to_socket_addrs"
                    || text == "Instant::now"
            });
            if qualified && !folders.contains(&source.module.as_str()) {
                wrong.push(format!("{}: {text} ({why})", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_holds_and_is_small() {
    let mut wrong = Vec::new();
    let mut lengths = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        lengths.push(lines);
        if !source.text.starts_with("//!") {
            wrong.push(format!("{} does not begin with //!", source.path.display()));
        }
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines", source.path.display()));
        }
        for (name, lines) in functions(&source.text) {
            if lines > FUNCTION_LINES_MAX {
                wrong.push(format!(
                    "{}: {name} has {lines} lines",
                    source.path.display()
                ));
            }
        }
    }
    lengths.sort_unstable();
    println!(
        "{} files, median {} lines",
        lengths.len(),
        lengths[lengths.len() / 2]
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Functions by the indentation of their closing brace.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some((before, after)) = line.split_once("fn ") else {
            continue;
        };
        if !before
            .trim()
            .split(' ')
            .all(|word| ["", "pub", "async", "pub(crate)", "pub(super)", "const"].contains(&word))
        {
            continue;
        }
        // What a trait only declares has no body.
        let end = lines[at..]
            .iter()
            .find(|line| line.ends_with(['{', ';', '}']));
        if end.is_some_and(|line| line.ends_with(';')) {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[at..].iter().position(|line| **line == closing) {
            let name: String = after
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            found.push((name, length + 1));
        }
    }
    found
}

#[test]
fn every_provider_and_policy_is_in_its_list() {
    let mut listed: BTreeMap<&str, &str> = BTreeMap::new();
    listed.insert("providers", "PROVIDERS");
    listed.insert("routing", "POLICIES");
    // What policies are chosen by, and how it is tested.
    let no_policies = [
        "backoff",
        "asked",
        "budget",
        "canary",
        "conditional",
        "demand",
        "experiment",
        "fleet",
        "fleet_tests",
        "health",
        "hedge",
        "lanes",
        "limiter",
        "measure",
        "overload_tests",
        "places",
        "rate",
        "retry_after",
        "simulation",
        "simulation_tests",
        "tier",
        "tail",
        "target",
        "view",
        "waiting",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (folder, list) in listed {
        let index = std::fs::read_to_string(root.join(folder).join("mod.rs")).unwrap();
        let (_, entries) = index.split_once(&format!("pub static {list}")).unwrap();
        let (entries, _) = entries.split_once(';').unwrap();
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let is_part = folder == "routing" && no_policies.contains(&name.as_str());
            if name != "mod" && !is_part {
                assert!(
                    entries.contains(&format!("&{name}::")),
                    "{name} is in no list"
                );
            }
        }
    }
}

#[test]
fn no_unsafe_code() {
    for source in sources() {
        let code = uncommented(&source.text);
        for form in ["unsafe {", "unsafe fn", "unsafe impl"] {
            assert!(!code.contains(form), "{}", source.path.display());
        }
    }
}
