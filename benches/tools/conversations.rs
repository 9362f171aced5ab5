//! Checks that conversations that end with the same question have different cache scopes.
//!
//! usage: conversations FILE: JSON lines with `a`, `a_history`, `b`, `b_history`; a history is the title, the
//! topic, and then the messages of user and assistant in turn.

use ringside::cache::key::{HashSecret, Key};
use ringside::protocols::json::document::Scratch;
use ringside::protocols::request::chat_request::read_chat;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: conversations FILE")?;
    let secret = HashSecret::draw()?;
    let (mut pairs, mut exact, mut scope) = (0, 0, 0);
    for line in std::fs::read_to_string(file)?.lines() {
        let pair: Value = serde_json::from_str(line)?;
        let first = key(&secret, &pair["a_history"], &pair["a"])?;
        let second = key(&secret, &pair["b_history"], &pair["b"])?;
        pairs += 1;
        exact += u32::from(first.exact == second.exact);
        scope += u32::from(first.scope == second.scope);
    }
    println!("{pairs} pairs of conversations: {exact} share an exact key, {scope} a scope");
    Ok(())
}

fn key(
    secret: &HashSecret,
    history: &Value,
    last: &Value,
) -> Result<Key, Box<dyn std::error::Error>> {
    let texts = history.as_array().ok_or("a history is a list")?;
    let title_and_topic = texts.iter().take(2).filter_map(Value::as_str);
    let system = title_and_topic.collect::<Vec<_>>().join(": ");
    let mut messages = vec![json!({"role": "system", "content": system})];
    for (turn, text) in texts.iter().skip(2).enumerate() {
        let role = ["user", "assistant"][turn % 2];
        messages.push(json!({"role": role, "content": text}));
    }
    messages.push(json!({"role": "user", "content": last}));
    let body = json!({"model": "m", "messages": messages}).to_string();
    let chat = read_chat(body.as_bytes(), &mut Scratch::default(), true)
        .map_err(|error| error.message.clone())?;
    let canonical = chat.canonical.ok_or("no canonical form")?;
    Ok(Key::new(secret, "tenant", 1, canonical))
}
