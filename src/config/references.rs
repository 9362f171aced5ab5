//! Secrets and certificates: references in the file, read from the environment or from files.
//!
//! It must not know which key holds one. No complaint made here quotes the content behind a reference, nor the text
//! where a reference was expected: that may be the secret itself.

use crate::config::limits;
use std::io::Read;
use std::path::Path;

use crate::config::problem::Complaint;
use crate::config::secret::{Renewable, Secret};

const HOW: &str = "write `env:NAME` to read the environment variable NAME, or `file:PATH` to read a \
                   file (relative to this one)";
const HOW_FILE: &str = "write `file:PATH`, the path being relative to this file";

/// Resolves references.
pub(crate) struct References<'a> {
    /// What relative `file:` paths start from.
    pub base_dir: &'a Path,
    /// Answers `env:` references; `None` when the variable is not set.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A PEM block that a file must hold, and what it is called.
#[derive(Clone, Copy)]
pub(crate) enum Pem {
    /// One or more certificates.
    Certificate,
    /// A private key of any kind.
    PrivateKey,
}

impl References<'_> {
    /// The secret that `reference` points to: visible ASCII, not empty.
    pub(crate) fn secret(&self, reference: &str) -> Result<Secret, Complaint> {
        let value = if let Some(name) = reference.strip_prefix("env:") {
            self.variable(name)?
        } else if let Some(path) = reference.strip_prefix("file:") {
            let bytes = self.file(path)?;
            String::from_utf8(bytes)
                .map_err(|_| Complaint::new(format!("file `{path}` is not UTF-8 text"), HOW))?
                .trim_end_matches(['\r', '\n'])
                .to_owned()
        } else {
            return Err(not_here());
        };
        check_secret(&value, reference)?;
        Ok(Secret(value))
    }

    /// The text in the file that `reference` points to; no secret.
    pub(crate) fn text(&self, reference: &str) -> Result<String, Complaint> {
        let path = reference
            .strip_prefix("file:")
            .ok_or_else(|| Complaint::new("expected a reference to a file", HOW_FILE))?;
        String::from_utf8(self.file(path)?)
            .map_err(|_| Complaint::new(format!("file `{path}` is not UTF-8 text"), HOW_FILE))
    }

    /// The PEM text in the file that `reference` points to.
    pub(crate) fn pem(&self, reference: &str, kind: Pem) -> Result<Vec<u8>, Complaint> {
        let path = reference
            .strip_prefix("file:")
            .ok_or_else(|| Complaint::new("expected a reference to a PEM file", HOW_FILE))?;
        let bytes = self.file(path)?;
        let (what, header) = match kind {
            Pem::Certificate => ("certificate", "BEGIN CERTIFICATE-----"),
            Pem::PrivateKey => ("private key", "PRIVATE KEY-----"),
        };
        if bytes
            .windows(header.len())
            .any(|part| part == header.as_bytes())
        {
            return Ok(bytes);
        }
        Err(Complaint::new(
            format!("file `{path}` holds no {what} in PEM form"),
            format!("give a text file with a line `-----…{header}`"),
        ))
    }

    /// A text of any form, e.g. JSON, from the environment or a file.
    pub(crate) fn document(&self, reference: &str) -> Result<String, Complaint> {
        if let Some(name) = reference.strip_prefix("env:") {
            return self.variable(name);
        }
        let path = reference.strip_prefix("file:").ok_or_else(not_here)?;
        String::from_utf8(self.file(path)?)
            .map_err(|_| Complaint::new(format!("file `{path}` is not UTF-8 text"), HOW))
    }

    /// A secret that can be read now; one of a file is read again later.
    pub(crate) fn renewable(&self, reference: &str) -> Result<Renewable, Complaint> {
        let secret = self.secret(reference)?;
        Ok(match reference.strip_prefix("file:") {
            Some(path) => Renewable::File(self.base_dir.join(path)),
            None => Renewable::Fixed(secret),
        })
    }

    fn variable(&self, name: &str) -> Result<String, Complaint> {
        let mut bytes = name.bytes();
        let starts_well = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        // A text that is no variable name may be a secret that someone put behind `env:`, so no message quotes it.
        if !starts_well || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Complaint::new(
                "what follows `env:` is not the name of an environment variable",
                HOW,
            ));
        }
        (self.env)(name).ok_or_else(|| {
            Complaint::new(
                format!("environment variable `{name}` is not set"),
                format!("set {name} in the environment that starts Ringside, or use `file:PATH`"),
            )
        })
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, Complaint> {
        if path.is_empty() {
            return Err(Complaint::new("`file:` without a path", HOW_FILE));
        }
        let full = self.base_dir.join(path);
        let limit = limits::REFERENCE_FILE_BYTES_MAX;
        let mut bytes = Vec::new();
        std::fs::File::open(&full)
            .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
            .map_err(|error| {
                Complaint::new(
                    format!("file `{}` cannot be read: {error}", full.display()),
                    "create the file, or let the user that runs Ringside read it",
                )
            })?;
        if bytes.len() as u64 > limit {
            return Err(Complaint::new(
                format!(
                    "file `{path}` is larger than {limit} bytes (limit REFERENCE_FILE_BYTES_MAX)"
                ),
                "give the path of the file that holds only this",
            ));
        }
        Ok(bytes)
    }
}

fn not_here() -> Complaint {
    Complaint::new(
        "a secret must not stand in this file, which is shared, copied and committed: \
         it holds references only",
        HOW,
    )
}

/// Refuses a secret that no header can carry.
fn check_secret(value: &str, reference: &str) -> Result<(), Complaint> {
    let (what, remedy) = if value.is_empty() {
        ("is empty", "put the secret there")
    } else if value.len() > limits::SECRET_BYTES_MAX {
        (
            "is longer than 4096 bytes (limit SECRET_BYTES_MAX)",
            "put only the secret there",
        )
    } else if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        (
            "holds a blank, a line break or a character outside ASCII, which no header can carry",
            "put only the secret there, without quotes, blanks and further lines",
        )
    } else {
        return Ok(());
    };
    Err(Complaint::new(
        format!("the secret at `{reference}` {what}"),
        remedy,
    ))
}
