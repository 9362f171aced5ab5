"""Asks a question twice, and streams the answer to another."""

from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="no keys are configured")


def ask(question, **options):
    messages = [{"role": "user", "content": question}]
    return {"model": "gpt-4o-mini", "messages": messages} | options


for _ in range(2):
    # `with_raw_response` gives the headers beside the answer; without it the call returns the answer alone.
    response = client.chat.completions.with_raw_response.create(**ask("What is the capital of France?"))
    answer = response.parse()
    print(f"{response.headers['x-ringside-cache']}: {answer.choices[0].message.content}")

print("stream:", end="", flush=True)
for chunk in client.chat.completions.create(**ask("What is the capital of Japan?", stream=True)):
    if chunk.choices and chunk.choices[0].delta.content:
        print(f" {chunk.choices[0].delta.content.strip()}", end="", flush=True)
print()
