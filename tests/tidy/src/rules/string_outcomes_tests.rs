//! Examples of outcomes that are compared as strings, and of code that is free to compare.

use super::check;
use crate::rules::found;

fn count(body: &str) -> usize {
    let text = format!("const SHED: &str = \"shed\"; fn f() {{ {body} }}");
    found(check, &[("src/a.rs", &text)]).len()
}

#[test]
fn comparisons_of_outcomes_are_found() {
    for bad in [
        "if verdict.outcome == \"ok\" {}",
        "if \"chat\" != self.operation() {}",
        "if error_code == \"shed\" {}",
        "if error.code == SHED {}",
        "if x.fault == Some(\"late\") {}",
        "if x.fault.as_deref() == Some(\"late\") {}",
        "if &*x.status == \"late\" {}",
        "match x.kind { \"a\" | \"b\" => {} _ => {} }",
        "match x.kind { Some(\"a\") => {} _ => {} }",
        "match x.kind { SHED => {} _ => {} }",
        "match (x.reason, y) { (\"a\", _) => {} _ => {} }",
        "if let \"hit\" = trip.cache {}",
        "let a = matches!(x.cache, \"hit\" | \"late\");",
        "if [\"a\", SHED].contains(&x.code) {}",
        "if x.result().eq(\"a\") {}",
        "return Err(\"\");",
        "match x { Err(\"\") => {} _ => {} }",
    ] {
        assert_eq!(count(bad), 1, "{bad}");
    }
}

#[test]
fn other_comparisons_are_free() {
    for good in [
        "if x.name == \"ok\" {}",
        "if x.outcome == Outcome::Ok {}",
        "if x.code == 7 {}",
        "match x.name { \"a\" => {} _ => {} }",
        "match x.kind { Kind::A => {} other => {} }",
        "let a = matches!(x.cache, Cache::Hit);",
        "return Err(\"late\");",
        "set(x.code, \"late\");",
    ] {
        assert_eq!(count(good), 0, "{good}");
    }
}

#[test]
fn tests_may_compare() {
    let text = "#[cfg(test)] mod tests { fn f() { if x.code == \"a\" {} } }";
    assert!(found(check, &[("src/a.rs", text)]).is_empty());
    assert!(found(check, &[("tests/a.rs", "fn f() { if x.code == \"a\" {} }")]).is_empty());
}
