//! For tests: compares documentation that is generated from a table in the code with its file.

use std::path::Path;

/// Compares the file at `path`, relative to the repository, with `expected`. With `RINGSIDE_BLESS=1` in the
/// environment it writes the file instead.
pub(crate) fn compare(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("RINGSIDE_BLESS").is_some() {
        std::fs::write(&file, expected).expect("the file can be written");
        return;
    }
    let actual = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        actual == expected,
        "{path} differs from the table in the code: run this test with RINGSIDE_BLESS=1 and commit the file"
    );
}
