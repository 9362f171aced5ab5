//! Fields that the provider's API does not support: refused by name, or dropped and reported.

use crate::error::class::Retry;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;

/// Fields named in one answer's header; the rest are named `more` together.
const NAMED_MAX: usize = 24;

/// Collects the fields that are dropped.
#[derive(Debug, Default)]
pub struct UnsupportedFields {
    drops: bool,
    dropped: Vec<String>,
}

impl UnsupportedFields {
    /// `drops`: whether unsupported fields are dropped instead of refused.
    #[must_use]
    pub fn new(drops: bool) -> Self {
        Self {
            drops,
            dropped: Vec::new(),
        }
    }

    /// The provider does not support `field`.
    ///
    /// # Errors
    /// 400 naming the field, unless it is to be dropped. Another target may support it.
    pub fn lose(&mut self, field: &str) -> Result<(), GatewayError> {
        if self.drops {
            self.hint(field);
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

    /// `field` is left out, which cannot change what the answer says: named, never refused.
    pub fn hint(&mut self, field: &str) {
        if self.dropped.len() <= NAMED_MAX && self.dropped.iter().all(|dropped| dropped != field) {
            let name = if self.dropped.len() == NAMED_MAX {
                "more"
            } else {
                field
            };
            self.dropped.push(name.to_owned());
        }
    }

    /// Notes a prompt-cache marker, for a provider whose dialect has none.
    pub fn hint_marker(&mut self, marker: Option<&str>) {
        if marker.is_some() {
            self.hint("cache_control");
        }
    }

    /// What was left out, for the header; `None` if nothing was.
    #[must_use]
    pub fn header(&self) -> Option<String> {
        // A field's name comes from the caller: nothing but letters that a header may hold.
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
    fn refused_by_name_or_dropped_and_named() {
        let fault = UnsupportedFields::new(false).lose("seed").unwrap_err();
        assert_eq!((fault.status, fault.param.as_deref()), (400, Some("seed")));
        let mut unsupported = UnsupportedFields::new(true);
        assert_eq!(unsupported.header(), None);
        unsupported.lose("seed").unwrap();
        unsupported.lose("seed").unwrap();
        unsupported.hint("a,\r\nb");
        assert_eq!(unsupported.header().as_deref(), Some("seed,ab"));
        for at in 0..100 {
            unsupported.hint(&format!("f{at}"));
        }
        assert!(unsupported.dropped.len() <= NAMED_MAX + 1);
    }
}
