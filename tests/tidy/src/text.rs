//! Divides text files into code, comments and strings, by line.

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Names and signs of a program.
    Code,
    /// A comment, a doc comment, or prose.
    Comment,
    /// The inside of a string literal.
    Text,
}

/// A piece of one kind; it may cross lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its text, with the marks that begin and end it.
    pub text: &'a str,
    /// Line from 1 on which it begins.
    pub line: usize,
}

/// Divides Rust.
pub fn rust(text: &str) -> Vec<Piece<'_>> {
    divide(text, |rest, before| {
        if rest.starts_with("//") {
            return Some((Kind::Comment, line_end(rest)));
        }
        if rest.starts_with("/*") {
            return Some((Kind::Comment, block_comment_end(rest)));
        }
        if rest.starts_with('"') {
            return Some((Kind::Text, quoted_end(rest, 0, '"')));
        }
        let is_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        if !is_word && let Some(length) = raw_string_end(rest) {
            return Some((Kind::Text, length));
        }
        char_literal_end(rest).map(|length| (Kind::Code, length))
    })
}

/// Divides Python.
pub fn python(text: &str) -> Vec<Piece<'_>> {
    divide(text, |rest, _| {
        if rest.starts_with('#') {
            return Some((Kind::Comment, line_end(rest)));
        }
        for quote in ["\"\"\"", "'''"] {
            if rest.starts_with(quote) {
                let end = rest[3..].find(quote).map_or(rest.len(), |at| at + 6);
                return Some((Kind::Text, end));
            }
        }
        for quote in ['"', '\''] {
            if rest.starts_with(quote) {
                return Some((Kind::Text, quoted_end(rest, 0, quote)));
            }
        }
        None
    })
}

/// Cuts `text` where `special` finds something other than plain code: its kind and its length.
fn divide<'a>(
    text: &'a str,
    special: impl Fn(&str, Option<char>) -> Option<(Kind, usize)>,
) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let (mut at, mut start, mut line, mut start_line) = (0, 0, 1, 1);
    let mut before = None;
    while let Some(c) = text[at..].chars().next() {
        let Some((kind, length)) = special(&text[at..], before) else {
            line += usize::from(c == '\n');
            at += c.len_utf8();
            before = Some(c);
            continue;
        };
        if start < at {
            let code = &text[start..at];
            let kind = Kind::Code;
            pieces.push(Piece {
                kind,
                text: code,
                line: start_line,
            });
        }
        let found = &text[at..at + length];
        pieces.push(Piece {
            kind,
            text: found,
            line,
        });
        line += found.matches('\n').count();
        at += length;
        (start, start_line) = (at, line);
        before = found.chars().next_back();
    }
    if start < at {
        pieces.push(Piece {
            kind: Kind::Code,
            text: &text[start..],
            line: start_line,
        });
    }
    pieces
}

fn line_end(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

fn block_comment_end(text: &str) -> usize {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// End of a literal whose opening quote stands at `open`.
fn quoted_end(text: &str, open: usize, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at <= open) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// End of `r"…"`, `br#"…"#`, `b"…"` and `c"…"`.
fn raw_string_end(text: &str) -> Option<usize> {
    let prefix = text.find(|c: char| !"brc".contains(c)).unwrap_or(0);
    let rest = &text[prefix..];
    if prefix == 0 || prefix > 2 {
        return None;
    }
    if !text[..prefix].contains('r') {
        return rest.starts_with('"').then(|| quoted_end(text, prefix, '"'));
    }
    let marks = rest.find(|c: char| c != '#').unwrap_or(0);
    if !rest[marks..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(marks));
    let inside = prefix + marks + 1;
    let end = text[inside..].find(&close);
    Some(end.map_or(text.len(), |at| inside + at + close.len()))
}

/// End of `'x'`; `None` for a lifetime.
fn char_literal_end(text: &str) -> Option<usize> {
    let mut inside = text.strip_prefix('\'')?.chars();
    match inside.next()? {
        '\\' => Some(quoted_end(text, 0, '\'')),
        c if inside.next() == Some('\'') => Some(2 + c.len_utf8()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(pieces: &[Piece<'_>], kind: Kind) -> Vec<String> {
        let of_kind = pieces.iter().filter(|piece| piece.kind == kind);
        of_kind
            .map(|piece| format!("{}:{}", piece.line, piece.text))
            .collect()
    }

    #[test]
    fn rust_is_divided() {
        let text = "a /* b /* c */ d */ 'x' '\"' '\\'' &'l e\n// f \"g\"\nr#\"h \" i\"# b\"j\" \"k\\\"\nl\"\nm";
        let pieces = rust(text);
        assert_eq!(
            kinds(&pieces, Kind::Comment),
            ["1:/* b /* c */ d */", "2:// f \"g\""]
        );
        assert_eq!(
            kinds(&pieces, Kind::Text),
            ["3:r#\"h \" i\"#", "3:b\"j\"", "3:\"k\\\"\nl\""]
        );
        assert_eq!(pieces.last().map(|piece| piece.line), Some(4));
        let whole: String = pieces.iter().map(|piece| piece.text).collect();
        assert_eq!(whole, text);
    }

    #[test]
    fn a_name_that_ends_in_r_is_no_raw_string() {
        assert!(kinds(&rust("for b in br {} r#type"), Kind::Text).is_empty());
    }

    #[test]
    fn python_is_divided() {
        let pieces = python("a = 'b' # c\n\"\"\"d\ne\"\"\"\nf");
        assert_eq!(kinds(&pieces, Kind::Comment), ["1:# c"]);
        assert_eq!(kinds(&pieces, Kind::Text), ["1:'b'", "2:\"\"\"d\ne\"\"\""]);
    }
}
