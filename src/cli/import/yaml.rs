//! YAML with the position of each value. The only file that knows the parser.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

/// A value, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Line, from 1.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values in their order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The text, of a number its digits.
    pub(crate) fn text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The number, also one in quotes.
    pub(crate) fn number(&self) -> Option<f64> {
        match &self.value {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Whether it is true.
    pub(crate) fn is_true(&self) -> bool {
        matches!(self.value, Value::Bool(true))
    }

    /// Entries of a list; none of anything else.
    pub(crate) fn list(&self) -> &[Self] {
        match &self.value {
            Value::List(list) => list,
            _ => &[],
        }
    }

    /// Entries of a map; none of anything else.
    pub(crate) fn map(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(map) => map,
            _ => &[],
        }
    }
}

/// The first document of `text`.
///
/// # Errors
/// The message of the parser, with its position.
pub(crate) fn read(text: &str) -> Result<Node, String> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| error.to_string())?;
    documents
        .first()
        .map(node)
        .ok_or_else(|| "the file is empty".to_owned())
}

fn node(yaml: &MarkedYaml<'_>) -> Node {
    let value = match &yaml.data {
        YamlData::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Bool(*value),
            Scalar::Integer(value) => Value::Number(*value as f64),
            Scalar::FloatingPoint(value) => Value::Number(value.into_inner()),
            Scalar::String(text) => Value::Text(text.to_string()),
        },
        YamlData::Sequence(list) => Value::List(list.iter().map(node).collect()),
        YamlData::Mapping(map) => {
            let mut entries: Vec<(String, Node)> = Vec::new();
            for (key, value) in map {
                let key = node(key).text().unwrap_or_default();
                let value = node(value);
                // A merge key adds the keys that the mapping does not have.
                let given = match key.as_str() {
                    "<<" => value.map().to_vec(),
                    _ => {
                        entries.retain(|(name, _)| *name != key);
                        vec![(key, value)]
                    }
                };
                for (key, value) in given {
                    if entries.iter().all(|(name, _)| *name != key) {
                        entries.push((key, value));
                    }
                }
            }
            Value::Map(entries)
        }
        YamlData::Tagged(_, inner) => node(inner).value,
        _ => Value::Null,
    };
    Node {
        line: yaml.span.start.line(),
        value,
    }
}
