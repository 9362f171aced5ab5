//! Whether an answer is whole and is the answer to what was asked.

use memchr::memmem::Finder;
use serde::de::IgnoredAny;

/// What every id of `ringside-mock` begins with.
const MARK: &[u8] = b"answer-";
/// Hexadecimal digits after it.
const DIGITS: usize = 16;

/// What may be found in an answer.
pub struct Checker {
    mark: Finder<'static>,
    choices: Finder<'static>,
    content: Finder<'static>,
    reasoning: Finder<'static>,
    tools: Finder<'static>,
}

impl Default for Checker {
    fn default() -> Self {
        Self {
            mark: Finder::new(MARK),
            choices: Finder::new(b"\"choices\""),
            content: Finder::new(b"\"content\""),
            reasoning: Finder::new(b"\"reasoning_content\""),
            tools: Finder::new(b"\"tool_calls\""),
        }
    }
}

impl Checker {
    /// A whole answer: an object with choices; read to its end when `fully`.
    ///
    /// # Errors
    /// The kind of error.
    pub fn whole(&self, body: &[u8], fully: bool) -> Result<(), &'static str> {
        let text = body.trim_ascii();
        let is_object = text.first() == Some(&b'{') && text.last() == Some(&b'}');
        if !is_object || (fully && serde_json::from_slice::<IgnoredAny>(text).is_err()) {
            return Err("not JSON");
        }
        match self.choices.find(text) {
            Some(_) => Ok(()),
            None => Err("no choices"),
        }
    }

    /// The data of a stream's event, other than `[DONE]`.
    ///
    /// # Errors
    /// The kind of error.
    pub fn event(data: &[u8], fully: bool) -> Result<(), &'static str> {
        if data.starts_with(b"{\"error\"") {
            return Err("error event");
        }
        if fully && serde_json::from_slice::<IgnoredAny>(data).is_err() {
            return Err("event is not JSON");
        }
        Ok(())
    }

    /// Every id in `body` must be one of `wanted`, the first of which is that of the question as
    /// asked; true when it was another wording's.
    ///
    /// # Errors
    /// None, or another one.
    pub fn ids(&self, body: &[u8], wanted: &[u64]) -> Result<bool, &'static str> {
        let (mut found, mut reworded) = (false, false);
        for at in self.mark.find_iter(body) {
            let start = at + MARK.len();
            let digits = body.get(start..start + DIGITS);
            let id = digits
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|digits| u64::from_str_radix(digits, 16).ok());
            if !id.is_some_and(|id| wanted.contains(&id)) {
                return Err("wrong answer");
            }
            found = true;
            reworded |= id.as_ref() != wanted.first();
        }
        if found {
            Ok(reworded)
        } else {
            Err("wrong answer")
        }
    }

    /// Whether an event's data carries something of the answer: a first event may only name the role.
    #[must_use]
    pub fn carries_token(&self, data: &[u8]) -> bool {
        let text = |name: &Finder<'_>| {
            let at = name.find(data)? + name.needle().len();
            let mut rest = data.get(at..)?.trim_ascii_start();
            rest = rest.strip_prefix(b":")?.trim_ascii_start();
            rest = rest.strip_prefix(b"\"")?;
            (rest.first() != Some(&b'"')).then_some(())
        };
        text(&self.content).is_some()
            || text(&self.reasoning).is_some()
            || self.tools.find(data).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::answer::{answer_id, answer_number};

    #[test]
    fn ids_must_fit() {
        let checker = Checker::default();
        let wanted = [answer_number("a"), answer_number("b")];
        let body = |questions: &[&str]| {
            let ids: Vec<String> = questions.iter().map(|text| answer_id(text)).collect();
            ids.join(" ")
        };
        assert_eq!(
            checker.ids(body(&["a", "a"]).as_bytes(), &wanted),
            Ok(false)
        );
        assert_eq!(checker.ids(body(&["b"]).as_bytes(), &wanted), Ok(true));
        assert!(checker.ids(body(&["a", "c"]).as_bytes(), &wanted).is_err());
        assert!(checker.ids(b"answer-12", &wanted).is_err());
        assert!(checker.ids(b"", &wanted).is_err());
    }

    #[test]
    fn answers_must_be_whole() {
        let checker = Checker::default();
        assert_eq!(checker.whole(b" {\"choices\":[]}\n", true), Ok(()));
        assert_eq!(checker.whole(b"{\"choices\":[", false), Err("not JSON"));
        assert_eq!(checker.whole(b"{\"choices\":[}", true), Err("not JSON"));
        assert_eq!(checker.whole(b"{}", true), Err("no choices"));
        assert_eq!(Checker::event(b"{\"error\":1}", false), Err("error event"));
        assert_eq!(Checker::event(b"{\"a\":", true), Err("event is not JSON"));
    }

    #[test]
    fn tokens_are_told_from_roles() {
        for (data, carries) in [
            (
                &b"{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}"[..],
                false,
            ),
            (b"{\"delta\":{\"content\":\"a\"}}", true),
            (b"{\"delta\":{\"content\": \"a\"}}", true),
            (b"{\"delta\":{\"content\":null}}", false),
            (b"{\"delta\":{\"tool_calls\":[]}}", true),
            (b"{\"delta\":{}}", false),
        ] {
            assert_eq!(
                Checker::default().carries_token(data),
                carries,
                "{}",
                String::from_utf8_lossy(data)
            );
        }
    }
}
