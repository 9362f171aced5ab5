//! Headings and links of Markdown files.

use std::collections::BTreeMap;

/// A link's target and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// Line from 1.
    pub line: usize,
    /// What stands in the parentheses, without a title.
    pub target: String,
}

/// Lines outside of fenced code, with their numbers from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fence: Option<&str> = None;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, None) => lines.push((at + 1, line)),
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => {}
        }
    }
    lines
}

/// The line without what stands between backticks.
fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let is_closed = parts.len() % 2 == 1;
    let keep = |(at, part): (usize, &&str)| {
        let is_text = at % 2 == 0 || (!is_closed && at + 1 == parts.len());
        if is_text {
            (*part).to_owned()
        } else {
            "``".to_owned()
        }
    };
    parts.iter().enumerate().map(keep).collect()
}

/// All links: `[a](b)`, images, and definitions `[a]: b`.
pub fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, text) in prose(text) {
        let text = without_code(text);
        for (at, _) in text.match_indices("](") {
            let rest = &text[at + 2..];
            let mut depth = 1;
            let end = rest.find(|c| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                depth == 0
            });
            if let Some(end) = end {
                let target = rest[..end].split_whitespace().next().unwrap_or("");
                let target = target.trim_start_matches('<').trim_end_matches('>');
                links.push(Link {
                    line,
                    target: target.to_owned(),
                });
            }
        }
        let definition = text.trim_start().strip_prefix('[');
        if let Some((name, target)) = definition.and_then(|rest| rest.split_once("]:"))
            && !name.starts_with('^')
            && let Some(target) = target.split_whitespace().next()
        {
            links.push(Link {
                line,
                target: target.to_owned(),
            });
        }
    }
    links
}

/// Anchors of headings as GitHub makes them, and `<a id="…">`.
pub fn anchors(text: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = Vec::new();
    for (_, line) in prose(text) {
        for mark in ["id=\"", "name=\""] {
            for (at, _) in line.match_indices(mark) {
                let rest = &line[at + mark.len()..];
                anchors.extend(rest.split('"').next().map(str::to_owned));
            }
        }
        let depth = line.chars().take_while(|c| *c == '#').count();
        let Some(title) = line[depth..]
            .strip_prefix(' ')
            .filter(|_| (1..=6).contains(&depth))
        else {
            continue;
        };
        let slug = slug(title.trim().trim_end_matches('#').trim_end());
        let count = seen.entry(slug.clone()).or_default();
        anchors.push(match *count {
            0 => slug,
            count => format!("{slug}-{count}"),
        });
        *count += 1;
    }
    anchors
}

fn slug(title: &str) -> String {
    let mut text = String::new();
    let mut rest = title;
    // Of a link in a heading only its words count.
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .flat_map(char::to_lowercase)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_outside_of_code_are_found() {
        let text =
            "[a](b.md \"title\") ![c](d_(e).png)\n```\n[f](g)\n```\n`[h](i)` [j](k)\n[l]: m\n";
        let found: Vec<String> = links(text)
            .iter()
            .map(|link| format!("{}:{}", link.line, link.target))
            .collect();
        assert_eq!(found, ["1:b.md", "1:d_(e).png", "5:k", "6:m"]);
    }

    #[test]
    fn anchors_follow_the_headings() {
        let text = "# A b\n## `c_d`: e, f!\n## A b\n```\n# no\n```\n#tag\n<a id=\"x\"></a>\n";
        assert_eq!(anchors(text), ["a-b", "c_d-e-f", "a-b-1", "x"]);
    }
}
