//! The query of an admin request: each parameter at most once.

use crate::http::percent::unescaped;

/// Names and values, decoded, in the order of the query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

/// Parameters that a query may have: a request with more is no request of an operator.
const PARAMETERS_MAX: usize = 64;

impl Query {
    /// # Errors
    /// The message for a query that cannot be read in one way.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, String> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (unescaped(name), unescaped(value)) else {
                return Err("a name or value in the query is not percent-encoded text".into());
            };
            if parameters.len() >= PARAMETERS_MAX {
                return Err(format!(
                    "a query has at most {PARAMETERS_MAX} parameters (limit PARAMETERS_MAX)"
                ));
            }
            if parameters.iter().any(|(earlier, _)| *earlier == name) {
                return Err(format!(
                    "the parameter `{name}` occurs twice: send one request for each value"
                ));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// The first parameter that is not in `known`.
    pub(crate) fn unknown(&self, known: &[&str]) -> Option<&str> {
        let mut names = self.0.iter().map(|(name, _)| name.as_str());
        names.find(|name| !known.contains(name))
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_occurs_once_however_it_is_encoded() {
        let query = Query::parse(Some("model=a%20b&&key=")).unwrap();
        assert_eq!(
            (query.get("model"), query.get("key")),
            (Some("a b"), Some(""))
        );
        assert_eq!(query.get("other"), None);
        assert_eq!(Query::parse(None), Ok(Query::default()));
        assert_eq!(query.unknown(&["model", "key"]), None);
        assert_eq!(query.unknown(&["model"]), Some("key"));
        for twice in ["a=1&a=2", "a=1&b=2&a=1", "model=a&mode%6c=b", "a&a"] {
            assert!(Query::parse(Some(twice)).unwrap_err().contains("twice"));
        }
        assert!(Query::parse(Some("a=%f")).is_err());
    }
}
