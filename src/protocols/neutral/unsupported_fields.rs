//! Request fields that the provider's API does not support. The request is rejected with the field's name, or the
//! field is dropped and reported.

use crate::error::class::Retry;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;

/// Most fields that one response header names; `more` stands for the rest.
const NAMED_MAX: usize = 24;

/// Longest name of a field in that header, in bytes; a longer one is cut.
const NAME_BYTES_MAX: usize = 128;

/// Collects the fields that are dropped from one request.
#[derive(Debug, Default)]
pub struct UnsupportedFields {
    drops: bool,
    dropped: Vec<String>,
}

impl UnsupportedFields {
    /// `drops`: whether to drop unsupported fields instead of rejecting the request.
    #[must_use]
    pub fn new(drops: bool) -> Self {
        Self {
            drops,
            dropped: Vec::new(),
        }
    }

    /// Handles a `field` that the provider does not support.
    ///
    /// # Errors
    /// 400 that names the field, unless fields are dropped. Another target may support the field.
    pub fn reject_or_drop(&mut self, field: &str) -> Result<(), GatewayError> {
        if self.drops {
            self.note_dropped(field);
            return Ok(());
        }
        let message = format!(
            "the API of the model's provider has no field for `{field}`; \
             leave it out, or set `unsupported_fields = \"drop\"` for the provider"
        );
        Err(GatewayError {
            retry: Retry::OnNextTarget,
            ..GatewayError::new(ErrorCode::UnsupportedFields, message).on(field.to_owned())
        })
    }

    /// Drops a `field` that cannot change the text of the response: it is reported, and the request is never rejected.
    pub fn note_dropped(&mut self, field: &str) {
        let field = field
            .get(..field.floor_char_boundary(NAME_BYTES_MAX))
            .unwrap_or_default();
        if self.dropped.len() <= NAMED_MAX && self.dropped.iter().all(|dropped| dropped != field) {
            let name = if self.dropped.len() == NAMED_MAX {
                "more"
            } else {
                field
            };
            self.dropped.push(name.to_owned());
        }
    }

    /// Reports a dropped prompt-cache marker, for a provider API without such markers.
    pub fn note_cache_marker(&mut self, marker: Option<&str>) {
        if marker.is_some() {
            self.note_dropped("cache_control");
        }
    }

    /// The dropped fields as a header value; `None` if no field was dropped.
    #[must_use]
    pub fn header(&self) -> Option<String> {
        // The client chose the field's name: keep only characters that a header value may hold.
        let named = |name: &String| -> String {
            name.chars()
                .filter(|letter| letter.is_ascii_graphic() && *letter != ',')
                .collect()
        };
        let names: Vec<String> = self.dropped.iter().map(named).collect();
        (!names.is_empty()).then(|| names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsupported_field_is_rejected_by_name_or_dropped_and_reported() {
        let error = UnsupportedFields::new(false)
            .reject_or_drop("seed")
            .unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some("seed")));
        let mut unsupported = UnsupportedFields::new(true);
        assert_eq!(unsupported.header(), None);
        unsupported.reject_or_drop("seed").unwrap();
        unsupported.reject_or_drop("seed").unwrap();
        unsupported.note_dropped("a,\r\nb");
        assert_eq!(unsupported.header().as_deref(), Some("seed,ab"));
        for at in 0..100 {
            unsupported.note_dropped(&format!("f{at}"));
        }
        assert!(unsupported.dropped.len() <= NAMED_MAX + 1);
    }
}
