"""Secrets in texts: found by the shapes that their issuers gave them, and by what stands behind a telling name.

All shapes are asked in one pass (RE2's sets: linear in the text, whatever the text is); only what is found is looked
at closer. A secret is replaced by ``[REDACTED:type:tag]``; the tag is a keyed hash, the same for the same secret.

Invariant: a text that was redacted is found clean, and redacting it again changes nothing.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from blake3 import blake3
from msgspec import Struct

from llmspell_hookspecs.bounds import ATOMS
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.secret import is_secret_name

__all__ = ["MARGIN", "SHAPES", "Found", "Redactor"]

SHAPES: Final[Mapping[str, str]] = {
    "adobe_secret": r"\bp8e-[0-9A-Za-z]{32}\b",
    "age_key": r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
    "airtable_token": r"\bpat[0-9A-Za-z]{14}\.[0-9a-f]{64}\b",
    "alibaba_key": r"\bLTAI[0-9A-Za-z]{20}\b",
    "anthropic_key": r"\bsk-ant-[0-9A-Za-z]{3,8}-[0-9A-Za-z_-]{80,120}",
    "asana_token": r"\b[12]/[0-9]{13,20}/[0-9]{13,20}:[0-9a-f]{32}\b",
    "atlassian_token": r"\bATATT3[0-9A-Za-z_=-]{60,300}",
    "aws_key": r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b",
    "azure_storage_key": r"AccountKey=[0-9A-Za-z+/]{86}==",
    "bearer": r"(?i)\bbearer {1,64}[0-9a-z._~+/=-]{20,}",
    "clojars_token": r"\bCLOJARS_[0-9a-z]{60}\b",
    "databricks_token": r"\bdapi[0-9a-f]{32}\b",
    "digitalocean_token": r"\bdo[opr]_v1_[0-9a-f]{64}\b",
    "discord_webhook": r"https://discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[0-9A-Za-z_-]{60,80}",
    "docker_token": r"\bdckr_pat_[0-9A-Za-z_-]{27}",
    "doppler_token": r"\bdp\.(?:pt|st|ct|scim|audit)\.[0-9A-Za-z._-]{40,60}",
    "dynatrace_token": r"\bdt0c01\.[0-9A-Z]{24}\.[0-9A-Z]{64}\b",
    "fly_token": r"\bFlyV1 fm[12]_[0-9A-Za-z+/=,_-]{100,1000}",
    "github_pat": r"\bgithub_pat_[0-9A-Za-z_]{82}\b",
    "github_token": r"\bgh[pousr]_[0-9A-Za-z]{36,255}\b",
    "gitlab_token": r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat)-[0-9A-Za-z_-]{20,64}",
    "google_key": r"\bAIza[0-9A-Za-z_-]{35}",
    "google_oauth": r"\bya29\.[0-9A-Za-z_-]{20,500}",
    "google_secret": r"\bGOCSPX-[0-9A-Za-z_-]{28}",
    "grafana_token": r"\bglsa_[0-9A-Za-z]{32}_[0-9a-f]{8}\b",
    "grafana_cloud_token": r"\bglc_[0-9A-Za-z+/]{32,400}={0,2}",
    "groq_key": r"\bgsk_[0-9A-Za-z]{52}\b",
    "hashicorp_token": r"\b[0-9A-Za-z]{14}\.atlasv1\.[0-9A-Za-z_=-]{60,70}",
    "huggingface_token": r"\b(?:hf|api_org)_[0-9A-Za-z]{34}\b",
    "jwt": r"\bey[JK][0-9A-Za-z_-]{14,}\.ey[JK][0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}",
    "langfuse_key": r"\bsk-lf-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
    "linear_key": r"\blin_api_[0-9A-Za-z]{40}\b",
    "mailchimp_key": r"\b[0-9a-f]{32}-us[0-9]{1,2}\b",
    "mailgun_key": r"\bkey-[0-9a-f]{32}\b",
    "new_relic_key": r"\bNRAK-[0-9A-Z]{27}\b",
    "notion_token": r"\b(?:ntn_|secret_)[0-9A-Za-z]{43,50}\b",
    "npm_token": r"\bnpm_[0-9A-Za-z]{36}\b",
    "openai_key": r"\bsk-(?:proj-|svcacct-|admin-)?[0-9A-Za-z_-]{20,200}T3BlbkFJ[0-9A-Za-z_-]{20,200}",
    "openrouter_key": r"\bsk-or-v1-[0-9a-f]{64}\b",
    "perplexity_key": r"\bpplx-[0-9A-Za-z]{48}\b",
    "planetscale_token": r"\bpscale_(?:tkn|pw|oauth)_[0-9A-Za-z_.=-]{32,64}",
    "postman_key": r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b",
    "private_key": r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[0-9A-Za-z+/=\s:,\\.-]{40,}?"
    r"-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----",
    "pulumi_token": r"\bpul-[0-9a-f]{40}\b",
    "pypi_token": r"\bpypi-AgE[0-9A-Za-z_-]{50,1000}",
    "replicate_token": r"\br8_[0-9A-Za-z]{37}\b",
    "rubygems_key": r"\brubygems_[0-9a-f]{48}\b",
    "sendgrid_key": r"\bSG\.[0-9A-Za-z_-]{22}\.[0-9A-Za-z_-]{43}",
    "sentry_token": r"\bsntr[yu]s_[0-9A-Za-z+/=_-]{60,400}",
    "shopify_token": r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b",
    "slack_token": r"\bxox[abeoprs]-[0-9A-Za-z-]{20,250}",
    "slack_app_token": r"\bxapp-[0-9]-[0-9A-Z]{8,16}-[0-9]{8,16}-[0-9a-f]{40,80}",
    "slack_webhook": r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Za-z+/]{40,60}",
    "square_token": r"\b(?:EAAA|sq0atp-|sq0csp-)[0-9A-Za-z_-]{22,60}\b",
    "stripe_key": r"\b[rs]k_(?:live|test|prod)_[0-9A-Za-z]{20,120}\b",
    "stripe_webhook": r"\bwhsec_[0-9A-Za-z]{32,64}",
    "supabase_key": r"\bsb[ps]_[0-9a-f]{40}\b",
    "tailscale_key": r"\btskey-(?:api|auth|client|scim|webhook)-[0-9A-Za-z]{8,24}-[0-9A-Za-z]{20,40}\b",
    "telegram_token": r"\b[0-9]{8,10}:AA[0-9A-Za-z_-]{33}",
    "twilio_key": r"\bSK[0-9a-f]{32}\b",
    "url_password": r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"']{0,100}:[^\s/:@\"'*\[]{3,200}@",
    "vault_token": r"\bhv[sbr]\.[0-9A-Za-z_-]{24,300}",
    "xai_key": r"\bxai-[0-9A-Za-z]{80}\b",
}
"""By type, what their secrets look like; written for RE2."""

_NAMED: Final = (
    r"(?i)(?:api[_-]?key|access[_-]?key|secret|token|passw(?:or)?d|passphrase|pwd|credential)[\w-]{0,30}"
    r"[\"']?\s{0,4}(?:=|:|=>)\s{0,4}[\"']?([^\s\"',;<>{}()\[\]]{8,512})"
)
_LEAST_BITS: Final = 3.0
"""Of entropy, for what stands behind a telling name; words of a language have less at these lengths."""
_MASK: Final = "[REDACTED:"
_LOOKED_INTO: Final = 256
"""Into so many of the values of a text that are no secrets is looked for names: each costs some 20 us."""
_LONGEST_MASK: Final = 64
_MASK_ENDS: Final = re.compile(r"[\]\s]")
MARGIN: Final = 16_384
"""How far a text is looked at beyond what is shown of it; no secret is longer."""


class Found(Struct, frozen=True):
    """A secret in a text.

    Attributes:
        type: What it is.
        start: Where it begins.
        end: Where it ends.
        begin: Where the name begins that tells of it, if there is one; else `start`.
    """

    type: str
    start: int
    end: int
    begin: int


_REMEMBERED: Final = 2 << 20
"""How many characters of texts without secrets are remembered, about."""


class Redactor:
    """Finds secrets and replaces them.

    Args:
        key: Of the tags' hash; one of its own if None.

    Raises:
        PluginError: The library RE2 is missing.
    """

    def __init__(self, key: bytes | None = None) -> None:
        try:
            import re2
        except ImportError:
            message = "plugin security: secrets are found by google-re2, which is missing"
            raise PluginError(f"{message}; pip install 'llmspell[security]', or set secrets = \"off\"") from None
        options = re2.Options()
        options.max_mem = 64 << 20
        options.never_capture = False
        self._key = os.urandom(32) if key is None else key
        self._innocent: set[str] = set()
        self._room = _REMEMBERED
        self._types = [*SHAPES, "named"]
        self._set = re2.Set.SearchSet(options)
        for pattern in (*SHAPES.values(), _NAMED):
            self._set.Add(pattern)
        self._set.Compile()
        self._each = [re2.compile(pattern, options) for pattern in (*SHAPES.values(), _NAMED)]

    def find(self, text: str) -> list[Found]:
        """Return the secrets of a text, in order; none of them overlaps another."""
        if len(text) < 8 or text in self._innocent:
            return []
        asked, text = text, text.encode(errors="replace").decode()
        found = [each for number in self._set.Match(text) or () for each in self._find(number, text)]
        found.sort(key=lambda each: (each.start, -each.end))
        apart: list[Found] = []
        for each in found:
            if not apart or each.start >= apart[-1].end:
                apart.append(each)
        if not apart and len(asked) <= _REMEMBERED // 16:
            self._remember(asked)
        return apart

    def _remember(self, text: str) -> None:
        """Remember that a text holds none: a guard looks again at what a transform has seen, and each turn at the last.

        It is looked up by what it says, so a text that was changed is looked at anew.
        """
        self._room -= len(text) + 64
        if self._room < 0:
            self._innocent, self._room = set(), _REMEMBERED
        self._innocent.add(text)

    def redact(self, text: str, found: list[Found] | None = None) -> str:
        """Return the text without its secrets."""
        parts, at = [], 0
        for each in self.find(text) if found is None else found:
            parts += [text[at : each.start], self._mask(each.type, text[each.start : each.end])]
            at = each.end
        return "".join([*parts, text[at:]]) if parts else text

    def beginning(self, text: str, most: int) -> str:
        """Return the beginning of a text without secrets: about so many characters, and no half of a secret."""
        window = text[: most + MARGIN]
        found = self.find(window)
        for each in found:
            if each.begin < most < each.end:
                most = each.end
        return self.redact(window[:most], [each for each in found if each.end <= most])

    def named(self, name: Any, text: str) -> str:
        """Return what stands for a text under a name that tells of a secret, if it looks like one; else the text."""
        if type(name) is str and is_secret_name(name) and _is_random(text):
            return self._mask("named", text)
        return text

    def clean(self, value: Any, types: dict[str, int]) -> Any:
        """Return a value without the secrets in its texts, keys among them; the same one if there are none.

        Args:
            value: Plain, or frozen.
            types: Counts what is found.
        """
        kind = type(value)
        if kind is str:
            found = self.find(value)
            if not found:
                return value
            for each in found:
                types[each.type] = types.get(each.type, 0) + 1
            return self.redact(value, found)
        if kind in ATOMS:
            return value
        if isinstance(value, Mapping):
            return self._clean_mapping(value, types)
        if isinstance(value, list | tuple):
            changed = [self.clean(item, types) for item in value]
            same = all(new is old for new, old in zip(changed, value, strict=True))
            return value if same else changed
        return value

    def _clean_mapping(self, value: Mapping[Any, Any], types: dict[str, int]) -> Any:
        changed, same = {}, True
        for key, item in value.items():
            new_key = self.clean(key, types)
            new = self.clean(item, types)
            if new is item and type(item) is str:
                new = self.named(key, item)
                if new is not item:
                    types["named"] = types.get("named", 0) + 1
            same = same and new is item and new_key is key
            changed[new_key] = new
        return value if same else changed

    def _find(self, number: int, text: str) -> list[Found]:
        kind, shape = self._types[number], self._each[number]
        if kind == "named":
            return list(_named_in(text, shape))
        return [Found(kind, match.start(), match.end(), match.start()) for match in shape.finditer(text)]

    def _mask(self, kind: str, secret: str) -> str:
        tag = blake3(secret.encode(errors="replace"), key=self._key).hexdigest(4)
        return f"{_MASK}{kind}:{tag}]"


def _named_in(text: str, shape: Any) -> Iterator[Found]:
    """Yield what stands behind telling names and looks random; where it does not, there may be further names in it.

    It goes by bytes, as RE2 does, which would else encode the whole text for each search.
    """
    data, at, byte, place, again = text.encode(), 0, 0, 0, _LOOKED_INTO
    while (match := shape.search(data, at)) is not None:
        name, start, end = match.start(), match.start(1), match.end(1)
        begin = place + len(data[byte:name].decode())
        byte, place = start, begin + len(data[name:start].decode())
        value = data[start:end].decode()
        is_secret = _is_random(value) and not _in_mask(text, begin)
        if is_secret:
            yield Found("named", place, place + len(value), begin)
        again -= not is_secret
        at = end if is_secret or again < 0 else start


def _in_mask(text: str, place: int) -> bool:
    """Whether a place lies within what stands for a secret."""
    opened = text.rfind(_MASK, max(0, place - _LONGEST_MASK), place)
    return opened >= 0 and not _MASK_ENDS.search(text, opened, place)


def _is_random(text: str) -> bool:
    """Whether a text looks made by a machine rather than by a person, and is no mask."""
    if len(text) < 8 or text.startswith((_MASK, "***", "$", "/", "http://", "https://")) or _MASK in text:
        return False
    if not any(each.isdigit() for each in text):
        return False
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values()) >= _LEAST_BITS
