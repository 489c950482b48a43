"""The providers: the conformance suite over each of them.

Situations are from public reports of comparable projects; each quirk names the server that it imitates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hypothesis  # noqa: F401 - pytest imports it at its end, and cannot after litellm's objects were frozen
import pytest

from llmspell_testing.provider import ProviderConformance

LOST = "litellm reads the answer itself, and drops this"
OVERRULED = "litellm makes every reason that it does not know a stop"
REFUSED = "litellm refuses an answer of this shape"
APART = {
    "ollama:_an_error_within_a_stream_is_a_text_under_error": LOST,
    "vllm:_an_error_within_a_stream_stands_at_the_top,_with_a_number_for_its_code": LOST,
    "lm_studio:_the_stream_says_that_it_is_done,_and_never_why": LOST,
    "openrouter:_an_error_in_an_answer_that_is_200,_with_what_its_own_provider_said": LOST,
    "openrouter:_an_error_in_one_of_the_choices": REFUSED,
    "azure:_an_answer_that_its_filter_cut_off_has_no_message": REFUSED,
    "deepseek:_it_gives_up_when_it_is_busy,_and_says_so_as_its_reason": OVERRULED,
    "gemini:_it_asked_for_a_tool_in_a_way_that_nobody_understands": OVERRULED,
    "mistral:_content_comes_in_parts,_what_it_thinks_among_them": REFUSED,
    "mistral:_the_limit_of_the_model_is_a_reason_of_its_own": OVERRULED,
    "a_gateway:_it_streams_although_a_whole_answer_was_asked_for": REFUSED,
    "a_gateway:_lines_end_in_cr_lf,_and_events_have_names_and_ids": REFUSED,
    "a_gateway:_no_empty_lines_part_the_events": LOST,
    "a_gateway:_it_begins_with_a_byte-order_mark": LOST,
    "a_gateway:_numbers_are_texts,_and_lists_of_one_are_objects": REFUSED,
    "a_gateway:_an_error_is_a_bare_word": REFUSED,
    "a_gateway:_an_error's_code_is_a_text": LOST,
}
"""What litellm 1 makes of an answer before it is handed on."""


class TestOpenAICompatible(ProviderConformance):
    def table(self, base_url: str) -> Mapping[str, Any]:
        return {"type": "openai_compatible", "base_url": base_url}


class TestOffline(ProviderConformance):
    model = "offline/rules"
    speaks_chat = False

    def table(self, base_url: str) -> Mapping[str, Any]:
        return {}


@pytest.mark.filterwarnings("ignore:Accessing the 'model_.*' attribute on the instance is deprecated")
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.long
class TestLiteLLM(ProviderConformance):
    apart = APART

    def table(self, base_url: str) -> Mapping[str, Any]:
        return {"type": "litellm", "service": "openai", "base_url": base_url, "api_key": "sk-none"}
