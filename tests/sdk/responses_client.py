"""A client of OpenAI's Responses API: the official SDK."""

import json

from openai.types.responses import Response, ResponseCompletedEvent


class ResponsesClient:
    def __init__(self, gateway, typed):
        self.client, self.typed = gateway.client(), typed

    def ask(self, to, feature, streams, image, schema):
        question, more = "What is the capital of France?", {}
        content = question
        if feature == "tools":
            content = "please call the tool"
            more["tools"] = [{"type": "function", "name": "weather", "description": "w", "parameters": schema, "strict": True}]
        if feature == "image":
            picture = {"type": "input_image", "image_url": f"data:image/png;base64,{image}", "detail": "auto"}
            content = [{"role": "user", "content": [{"type": "input_text", "text": question}, picture]}]
        if feature == "JSON schema":
            more["text"] = {"format": {"type": "json_schema", "name": "c", "schema": schema, "strict": True}}
        sent = dict(model=to, input=content, max_output_tokens=100, store=False, **more)
        if not streams:
            return self.read(self.typed(Response, self.client.responses.create(**sent)))
        events = list(self.client.responses.create(**sent, stream=True))
        for event in events:
            self.typed(type(event), event)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        kinds = [event.type for event in events]
        assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"
        assert isinstance(events[-1], ResponseCompletedEvent)
        # The same again by the SDK's own accumulation, which checks each event against what came before.
        with self.client.responses.stream(**sent) as stream:
            final = stream.get_final_response()
        said = events[-1].response
        assert (final.output_text, final.usage) == (said.output_text, said.usage)
        joined = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert joined == said.output_text
        return self.read(said)

    def read(self, response):
        calls = [(item.name, json.loads(item.arguments)) for item in response.output if item.type == "function_call"]
        assert response.status == "completed"
        usage = response.usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        return response.output_text, calls, "tools" if calls else "end", usage.input_tokens, usage.output_tokens
