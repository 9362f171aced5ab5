//! Reads the field `model` of `multipart/form-data` (RFC 7578) and the position of its value. Everything else is
//! forwarded unchanged.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::http::percent;
use memchr::memmem;
use std::ops::Range;

/// Longest boundary (RFC 2046, 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;
/// Longest model name in a form, in bytes, as in the configuration.
const MODEL_BYTES_MAX: usize = 128;

/// The boundary that `content_type` names, if it is a form's content type.
#[must_use]
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then_some(value.trim())
    })?;
    let value = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    let is_fit = (1..=BOUNDARY_BYTES_MAX).contains(&value.len()) && !value.contains(['"', '\\']);
    is_fit.then(|| value.to_owned())
}

/// The value of the field `model` and its position.
///
/// # Errors
/// 400 if the form is malformed, or if it has no such field or several: two parsers could read different values.
pub(crate) fn model(body: &[u8], boundary: &str) -> Result<(String, Range<usize>), GatewayError> {
    let malformed = || {
        GatewayError::new(
            ErrorCode::InvalidForm,
            "the body is not a well-formed multipart form",
        )
    };
    let missing = |message: &'static str| {
        Err(GatewayError::new(ErrorCode::InvalidRequest, message).on("model"))
    };
    let delimiter = format!("--{boundary}");
    if !body.starts_with(delimiter.as_bytes()) {
        return Err(malformed());
    }
    let inner = format!("\r\n{delimiter}");
    // Some parsers accept a bare line feed as a line end.
    let half = format!("\n{delimiter}");
    let is_half = |at: usize| at == 0 || body.get(at - 1) != Some(&b'\r');
    if memmem::find_iter(body, half.as_bytes()).any(is_half) {
        return Err(malformed());
    }
    let (mut at, mut found) = (delimiter.len(), None);
    loop {
        let rest = body.get(at..).unwrap_or_default();
        if rest.starts_with(b"--") {
            break;
        }
        let head = rest.strip_prefix(b"\r\n").ok_or_else(malformed)?;
        let head_end = memmem::find(head, b"\r\n\r\n").ok_or_else(malformed)?;
        let start = at + 2 + head_end + 4;
        // The search starts at the part's head, because a part can have no body.
        let end = at + memmem::find(rest, inner.as_bytes()).ok_or_else(malformed)?;
        if end < start {
            return Err(malformed());
        }
        if names_model(head.get(..head_end).unwrap_or_default()).ok_or_else(malformed)? {
            if found.is_some() {
                return missing("`model` occurs twice in the form");
            }
            found = Some(start..end);
        }
        at = end + inner.len();
    }
    let Some(range) = found else {
        return missing("`model` is missing in the form");
    };
    let value = body.get(range.clone()).unwrap_or_default();
    match std::str::from_utf8(value) {
        Ok(name) if (1..=MODEL_BYTES_MAX).contains(&name.len()) => Ok((name.to_owned(), range)),
        _ => missing("`model` is not a name"),
    }
}

/// Whether a part's head says `name="model"` in any form that a parser may accept: escaped, quoted or not, or
/// extended (`name*`, RFC 5987, which RFC 7578 forbids). `None` if a line is folded or ends in a bare line feed.
fn names_model(head: &[u8]) -> Option<bool> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut is_named = false;
    for line in head.split("\r\n") {
        if line.starts_with([' ', '\t']) || line.contains(['\r', '\n', '\0']) {
            return None;
        }
        let Some((field, value)) = line.split_once(':') else {
            continue;
        };
        if field.trim_end() == "content-disposition" {
            is_named |= value.split(';').any(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or_default();
                matches!(name.trim(), "name" | "name*") && means_model(value)
            });
        }
    }
    Some(is_named)
}

/// Whether a parser can read a name as `model`.
fn means_model(value: &str) -> bool {
    // An extended value starts with its charset and language.
    let value = value.rsplit('\'').next().unwrap_or(value);
    let plain: String = value
        .chars()
        .filter(|letter| !"\"\\".contains(*letter))
        .collect();
    let name = percent::unescaped(plain.trim()).unwrap_or(plain.trim().into());
    name.trim().eq_ignore_ascii_case("model")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(parts: &[(&str, &str)]) -> String {
        let part = |(head, value): &(&str, &str)| {
            format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
        };
        parts.iter().map(part).collect::<String>() + "--b--\r\n"
    }

    #[test]
    fn the_model_is_found() {
        let file = (
            "name=\"file\"; filename=\"a;name=model.wav\"",
            "RIFF\r\n--c\r\nname=\"model\"",
        );
        let text = form(&[file, ("name=\"model\"", "whisper-1"), ("name=\"x\"", "")]);
        let (name, range) = model(text.as_bytes(), "b").unwrap();
        assert_eq!((name.as_str(), &text[range]), ("whisper-1", "whisper-1"));
    }

    #[test]
    fn ambiguous_forms_are_rejected() {
        let code = |text: &str| model(text.as_bytes(), "b").unwrap_err().code;
        let field = ("name=\"model\"", "m");
        assert!(model(form(&[field, ("name=\"50%\"", "x")]).as_bytes(), "b").is_ok());
        assert_eq!(
            code(&form(&[field, ("NAME = model", "n")])),
            ErrorCode::InvalidRequest
        );
        assert_eq!(
            code(&form(&[("name=\"x\"", "m")])),
            ErrorCode::InvalidRequest
        );
        assert_eq!(
            code(&form(&[("name=\"model\"", "")])),
            ErrorCode::InvalidRequest
        );
        for other in [
            "name*=utf-8\'\'model",
            "name=\"mod\\el\"",
            "name=\"%6Dodel\"",
            "x=1;name=Model",
        ] {
            assert_eq!(
                code(&form(&[field, (other, "n")])),
                ErrorCode::InvalidRequest,
                "{other}"
            );
        }
        for odd in [
            "x=1;\r\n name=model",
            "x=1;\nname=model",
            "x=1\r\n\tname=model",
        ] {
            assert_eq!(
                code(&form(&[field, (odd, "n")])),
                ErrorCode::InvalidForm,
                "{odd}"
            );
        }
        let spaced =
            form(&[field, field]).replace("Disposition: form-data; name", "Disposition : name");
        assert_eq!(code(&spaced), ErrorCode::InvalidRequest);
        let bare = format!("--b\r\nx: y\r\n\r\n{}", form(&[field]));
        assert_eq!(code(&bare), ErrorCode::InvalidForm);
        let half = form(&[("name=\"file\"", "x\n--b\r\n"), field]);
        assert_eq!(code(&half), ErrorCode::InvalidForm);
        let whole = form(&[field]);
        for cut in 0..whole.len() - 4 {
            assert_eq!(code(&whole[..cut]), ErrorCode::InvalidForm, "{cut}");
        }
        assert_eq!(code(&format!("x{whole}")), ErrorCode::InvalidForm);
    }

    #[test]
    fn the_boundary_is_read_from_the_content_type() {
        assert_eq!(
            boundary("multipart/form-data; charset=utf-8; boundary=\"a b\"").as_deref(),
            Some("a b")
        );
        assert_eq!(
            boundary("Multipart/Form-Data;boundary=x").as_deref(),
            Some("x")
        );
        for none in [
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=",
        ] {
            assert_eq!(boundary(none), None, "{none}");
        }
    }
}
