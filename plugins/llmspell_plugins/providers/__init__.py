"""The providers of language models: what is asked over HTTP, what litellm asks, and what answers without any model.

`openai_compatible` speaks the chat interface that most services offer; `services` is the table of those with a name of
their own; `litellm` asks whatever else there is; `offline` answers by rules.
"""
