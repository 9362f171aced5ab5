//! Do conversations that end with the same question share a cache scope? They must not.
//!
//! usage: conversations FILE: JSON lines with `a`, `a_history`, `b`, `b_history`; a history is the title, the
//! topic, and then what user and assistant said in turn.

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
        let one = key(&secret, &pair["a_history"], &pair["a"])?;
        let other = key(&secret, &pair["b_history"], &pair["b"])?;
        pairs += 1;
        exact += u32::from(one.exact == other.exact);
        scope += u32::from(one.scope == other.scope);
    }
    println!("{pairs} pairs of conversations: {exact} share an exact key, {scope} a scope");
    Ok(())
}

fn key(
    secret: &HashSecret,
    history: &Value,
    last: &Value,
) -> Result<Key, Box<dyn std::error::Error>> {
    let said = history.as_array().ok_or("a history is a list")?;
    let response_ctx = said.iter().take(2).filter_map(Value::as_str);
    let response_ctx = response_ctx.collect::<Vec<_>>().join(": ");
    let mut messages = vec![json!({"role": "system", "content": response_ctx})];
    for (turn, text) in said.iter().skip(2).enumerate() {
        let role = ["user", "assistant"][turn % 2];
        messages.push(json!({"role": role, "content": text}));
    }
    messages.push(json!({"role": "user", "content": last}));
    let body = json!({"model": "m", "messages": messages}).to_string();
    let chat = read_chat(body.as_bytes(), &mut Scratch::default(), true)
        .map_err(|fault| fault.message.clone())?;
    let canonical = chat.canonical.ok_or("no canonical form")?;
    Ok(Key::new(secret, "tenant", 1, canonical))
}
