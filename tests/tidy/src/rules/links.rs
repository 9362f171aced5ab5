//! Links between files of the repository, and to their headings.

use crate::markdown::{anchors, links};
use crate::{Finding, Repository};

const RULE: &str = "links";

/// Relative links whose file or heading does not exist.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let markdown = repository
        .sources()
        .filter(|source| source.path.ends_with(".md"));
    for source in markdown {
        let folder = source
            .path
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        for link in links(&source.text) {
            let is_outside = link.target.contains("://") || link.target.starts_with("mailto:");
            if is_outside || link.target.is_empty() {
                continue;
            }
            let (file, anchor) = match link.target.split_once('#') {
                Some((file, anchor)) => (file, Some(anchor)),
                None => (link.target.as_str(), None),
            };
            let path = match file {
                "" => Some(source.path.clone()),
                file => joined(folder, file),
            };
            let exists = path
                .as_ref()
                .is_some_and(|path| path.is_empty() || repository.exists(path));
            let message = if !exists {
                format!("the link {} leads to no file", link.target)
            } else if anchor.is_some_and(|anchor| !has_anchor(repository, path.as_deref(), anchor))
            {
                format!("the link {} leads to no heading", link.target)
            } else {
                continue;
            };
            findings.push(Finding::new(RULE, &source.path, link.line, message));
        }
    }
    findings
}

/// Whether a file has the heading; of files that are not Markdown only lines (`#L3`) can be named.
fn has_anchor(repository: &Repository, path: Option<&str>, anchor: &str) -> bool {
    let source = path.and_then(|path| repository.source(path));
    let Some(source) = source.filter(|source| source.path.ends_with(".md")) else {
        return anchor.starts_with('L');
    };
    anchors(&source.text).iter().any(|name| name == anchor)
}

/// The path of `file` seen from `folder`; `None` when it leaves the repository.
fn joined(folder: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = match file.starts_with('/') {
        true => Vec::new(),
        false => folder.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::rules::found;

    fn messages(text: &str) -> Vec<String> {
        let other = ("README.md", "# Top\n## Next part\n");
        found(check, &[other, ("src/a.rs", ""), ("docs/a.md", text)])
    }

    #[test]
    fn links_that_lead_somewhere_are_good() {
        let good = "# Own\n[a](../README.md) [b](../README.md#next-part) [c](#own) [d](../src)\n\
                    [e](https://example.org/x.md) [f](../src/a.rs#L3) [g](/README.md)\n";
        assert!(messages(good).is_empty());
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let bad = "[a](README.md)\n[b](../README.md#other)\n[c](#own)\n[d](../../x.md)\n";
        assert_eq!(
            messages(bad),
            [
                "docs/a.md:1 the link README.md leads to no file",
                "docs/a.md:2 the link ../README.md#other leads to no heading",
                "docs/a.md:3 the link #own leads to no heading",
                "docs/a.md:4 the link ../../x.md leads to no file"
            ]
        );
    }
}
