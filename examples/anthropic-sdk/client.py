"""Sends Anthropic's Messages to a provider of OpenAI's dialect."""

from anthropic import Anthropic

client = Anthropic(base_url="http://127.0.0.1:8080", api_key="no keys are configured")
request = {
    "model": "claude-sonnet",
    "max_tokens": 100,
    "system": "Answer in one sentence.",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}

response = client.messages.with_raw_response.create(**request)
message = response.parse()
print(f"{response.headers['x-ringside-target']}: {message.content[0].text}")
print(f"{message.stop_reason}, {message.usage.input_tokens} tokens in, {message.usage.output_tokens} out")

print("stream:", end="", flush=True)
with client.messages.stream(**request) as stream:
    for text in stream.text_stream:
        print(f" {text.strip()}", end="", flush=True)
print()
