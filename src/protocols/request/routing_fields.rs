//! OpenRouter's request fields that constrain routing: `models` and `provider`. They are read here, and removed from
//! the body before it is sent to a provider that would reject them.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::json::splice;

/// The values of these fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutingFields {
    /// `models`: models to try after the requested one.
    pub models: Vec<String>,
    /// `provider.order`: providers to try first.
    pub order: Vec<String>,
    /// `provider.only`.
    pub only: Vec<String>,
    /// `provider.ignore`.
    pub ignore: Vec<String>,
    /// `provider.sort`: `price`, `throughput` or `latency`.
    pub sort: Option<String>,
    /// `provider.allow_fallbacks` is false: only the providers of `order` are tried.
    pub forbids_fallbacks: bool,
    /// `provider.data_collection` is `deny`.
    pub denies_collection: bool,
    /// A key of `provider` that routing does not support.
    pub unsupported: Option<String>,
}

/// Top-level fields that are removed.
const FIELDS: [&str; 2] = ["models", "provider"];

/// Most names in one list.
const NAMES_MAX: usize = 32;

/// Whether the top-level field `name` is a routing field.
#[must_use]
pub(crate) fn is_routing_field(name: &str) -> bool {
    FIELDS.contains(&name)
}

impl RoutingFields {
    /// Reads one of the fields.
    pub(crate) fn field(
        &mut self,
        document: &Document<'_>,
        name: &str,
        value: usize,
    ) -> Result<(), GatewayError> {
        if document.is_null(value) {
            return Ok(());
        }
        if name == "models" {
            self.models = names(document, "models", value)?;
            return Ok(());
        }
        let fields = document
            .fields(value)
            .ok_or_else(|| invalid("provider", "an object"))?;
        for (key, value) in fields.filter(|(_, value)| !document.is_null(*value)) {
            match key {
                "order" => self.order = names(document, "provider.order", value)?,
                "only" => self.only = names(document, "provider.only", value)?,
                "ignore" => self.ignore = names(document, "provider.ignore", value)?,
                "sort" => {
                    let text = document.text(value);
                    let text = text.ok_or_else(|| invalid("provider.sort", "a string"))?;
                    self.sort = Some(text.to_owned());
                }
                "allow_fallbacks" => {
                    let allows = document.boolean(value);
                    let allows = allows
                        .ok_or_else(|| invalid("provider.allow_fallbacks", "true or false"))?;
                    self.forbids_fallbacks = !allows;
                }
                "data_collection" => match document.text(value) {
                    Some("deny") => self.denies_collection = true,
                    Some("allow") => {}
                    _ => return Err(invalid("provider.data_collection", "`allow` or `deny`")),
                },
                // Reported instead of ignored: the field may limit data retention or cost.
                other => self.unsupported = Some(other.to_owned()),
            }
        }
        Ok(())
    }
}

fn names(
    document: &Document<'_>,
    field: &'static str,
    value: usize,
) -> Result<Vec<String>, GatewayError> {
    let wrong = || invalid(field, "a list of at most 32 names");
    let elements = document.elements(value).ok_or_else(wrong)?;
    let names: Option<Vec<String>> = elements
        .map(|at| document.text(at).map(str::to_owned))
        .collect();
    names
        .filter(|names| names.len() <= NAMES_MAX)
        .ok_or_else(wrong)
}

fn invalid(field: &'static str, expected: &str) -> GatewayError {
    let message = format!("`{field}` must be {expected}");
    GatewayError::new(ErrorCode::InvalidRequest, message).on(field)
}

/// The body without these fields; all other bytes stay.
///
/// # Errors
/// The body differs from the one that was read.
pub(crate) fn cut(body: &[u8], scratch: &mut Scratch) -> Result<Vec<u8>, GatewayError> {
    let not_found = || {
        GatewayError::new(
            ErrorCode::InternalError,
            "the position of a field was not found",
        )
    };
    let mut body = body.to_vec();
    // One at a time, because the comma that is removed with a field depends on the remaining fields.
    for _ in FIELDS {
        let key = scratch
            .with_document(&body, |document| {
                let mut fields = document.root_fields()?;
                let (key, _) = fields.find(|(key, _)| is_routing_field(key))?;
                document.offset_of(key)
            })
            .map_err(|_| not_found())?;
        let Some(key) = key else {
            break;
        };
        let range = splice::field_range(&body, key).ok_or_else(not_found)?;
        body.drain(range);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::request::chat_request::read_chat;

    #[test]
    fn every_other_byte_stays() {
        let rest = r#""model" : "m" , "messages":[{"role":"user","content":"p\"{]"}]"#;
        let models = r#""models": ["a", "b]\"" ]"#;
        let provider = "\"provider\"\n: {\"order\":[\"x\"],\"only\":[\"}\"]}";
        for (body, expected) in [
            (
                format!("{{{models},{provider},{rest}}}"),
                format!("{{{rest}}}"),
            ),
            (format!("{{{rest} , {provider}}}"), format!("{{{rest} }}")),
            (
                format!("{{{rest},{provider},{models}\n}}"),
                format!("{{{rest}\n}}"),
            ),
            (
                format!("{{{models},{rest},{provider}}}"),
                format!("{{{rest}}}"),
            ),
            (format!("{{ {rest} }}"), format!("{{ {rest} }}")),
        ] {
            let mut scratch = Scratch::default();
            let left = cut(body.as_bytes(), &mut scratch).unwrap();
            assert_eq!(String::from_utf8(left.clone()).unwrap(), expected);
            let chat = read_chat(&left, &mut scratch, false).unwrap();
            assert!(chat.routing_fields.is_none());
            assert_eq!(&left[chat.model_range], b"m");
        }
    }

    #[test]
    fn fields_are_read_and_malformed_ones_are_rejected() {
        let read = |provider: &str| {
            let body = format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"q"}}],"provider":{provider}}}"#
            );
            read_chat(body.as_bytes(), &mut Scratch::default(), false)
        };
        let routing_fields = read(
            r#"{"order":["a"],"sort":"price","allow_fallbacks":false,"data_collection":"deny","only":null}"#,
        );
        let routing_fields = *routing_fields.unwrap().routing_fields.unwrap();
        assert_eq!(routing_fields.order, ["a"]);
        assert_eq!(routing_fields.sort.as_deref(), Some("price"));
        assert!(routing_fields.forbids_fallbacks && routing_fields.denies_collection);
        let unsupported = read(r#"{"max_price":{"prompt":1}}"#)
            .unwrap()
            .routing_fields;
        assert_eq!(
            unsupported.unwrap().unsupported.as_deref(),
            Some("max_price")
        );
        for wrong in [
            "1",
            r#"{"order":"a"}"#,
            r#"{"only":[1]}"#,
            r#"{"data_collection":"maybe"}"#,
        ] {
            assert_eq!(read(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
