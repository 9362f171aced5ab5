//! Changes a JSON document in its structure, so that it stays one: what a fuzzer's own byte edits seldom do.

use serde_json::Value;

/// Values that parsers and translators may treat in different ways.
const ODD: [&str; 22] = [
    "null", "true", "false", "0", "-0", "1", "0.5", "1e3", "18446744073709551617", "-9223372036854775809",
    "\"\"", "\"a\"", "\" \"", "\"\\u0000\\n\\\"\\\\é😀\"", "[]", "{}", "[null]", "{\"\":0}", "\"user\"", "\"tool\"",
    "[{\"type\":\"text\",\"text\":\"a\"}]", "\"data:image/png;base64,aGk=\"",
];

/// A sequence of choices (xorshift).
pub struct Choices(u64);

impl Choices {
    pub fn new(seed: u32) -> Self {
        Self(u64::from(seed) << 1 | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// Applies one to four changes.
pub fn mutate(document: &mut Value, choices: &mut Choices) {
    for _ in 0..1 + choices.below(4) {
        let count = count(document);
        let other = nth(document, &mut choices.below(count)).map(|value| value.clone());
        let Some(value) = nth(document, &mut choices.below(count)) else {
            return;
        };
        change(value, other.unwrap_or_default(), choices);
    }
}

fn change(value: &mut Value, other: Value, choices: &mut Choices) {
    let odd = ODD[choices.below(ODD.len())];
    let odd: Value = serde_json::from_str(odd).unwrap_or_default();
    match (value, choices.below(6)) {
        (Value::Array(all), 0) if !all.is_empty() => {
            all.remove(choices.below(all.len()));
        }
        (Value::Array(all), 1) if !all.is_empty() => {
            let copied = all[choices.below(all.len())].clone();
            all.insert(choices.below(all.len()), copied);
        }
        (Value::Array(all), 2) if all.len() > 1 => {
            let (a, b) = (choices.below(all.len()), choices.below(all.len()));
            all.swap(a, b);
        }
        (Value::Array(all), 3) => all.push(other),
        (Value::Object(fields), 0..=3) if !fields.is_empty() => {
            let nth = choices.below(fields.len());
            let key = fields.keys().nth(nth).cloned().unwrap_or_default();
            match choices.below(3) {
                0 => {
                    fields.remove(&key);
                }
                1 => {
                    fields.insert(key, odd);
                }
                _ => {
                    fields.insert(key, other);
                }
            }
        }
        (Value::String(text), 0..=2) => text.push_str("\u{1}\"\\é😀 \n"),
        (value, 4) => *value = other,
        (value, _) => *value = odd,
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value that comes `left` values after this one, in the order of the document.
fn nth<'v>(value: &'v mut Value, left: &mut usize) -> Option<&'v mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(all) => all.iter_mut().find_map(|inner| nth(inner, left)),
        Value::Object(fields) => fields.values_mut().find_map(|inner| nth(inner, left)),
        _ => None,
    }
}
