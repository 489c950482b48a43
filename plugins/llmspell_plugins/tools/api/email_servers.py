"""Who hands e-mails on, as trusted settings name them: a server by SMTP, SendGrid, or Amazon SES.

Invariant: each setting belongs to the kinds that heed it, and is refused with another; no key is sent in the clear.
Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from llmspell_hookspecs import Policy

__all__ = ["EmailSettings", "MailServer"]

_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
_OF_KIND: Final = {
    "smtp": {"host", "port", "security", "ca_file", "user", "password", "password_env", "helo"},
    "sendgrid": {"base_url", "api_key", "api_key_env"},
    "ses": {
        "base_url",
        "region",
        "access_key_id",
        "access_key_id_env",
        "secret_access_key",
        "secret_access_key_env",
        "session_token",
        "session_token_env",
        "configuration_set",
    },
}
_OF_ALL: Final = {"kind", "sender", "senders", "recipients"}


class MailServer(BaseModel):
    """``[tools.email-sender.servers.NAME]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["smtp", "sendgrid", "ses"] = Field(
        default="smtp", description="A server by SMTP, SendGrid's API (v3), or Amazon SES's (v2)."
    )
    host: str = Field(default="", description="smtp: the server.")
    port: int = Field(default=0, ge=0, le=65535, description="smtp: its port; 0 for 587, 465 with tls, 25 with none.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="smtp: TLS after the greeting, TLS from the start, or none and no login."
    )
    ca_file: str = Field(default="", description="smtp: certificates that are trusted; the system's if left out.")
    user: str = Field(default="", description="smtp: who logs in; nobody if left out.")
    password: SecretStr | None = Field(default=None, description="smtp: the password; better in the environment.")
    password_env: str = Field(default="", description="smtp: the environment variable that has the password.")
    helo: str = Field(default="localhost", pattern=r"^[A-Za-z0-9.:\[\]-]{1,253}$", description="smtp: our name for it.")
    base_url: str = Field(
        default="",
        pattern=r"^(https://[^?#@\s]+|http://(127\.0\.0\.1|localhost|\[::1\])([:/][^?#@\s]*)?)?$",
        description="sendgrid and ses: where the API is, such as https://api.eu.sendgrid.com; the usual one if empty. "
        "Without TLS it can be on this machine only.",
    )
    api_key: SecretStr | None = Field(default=None, description="sendgrid: the key; better in the environment.")
    api_key_env: str = Field(default="SENDGRID_API_KEY", description="sendgrid: the variable that has the key.")
    region: str = Field(default="", pattern=r"^[a-z0-9-]{0,40}$", description="ses: such as eu-central-1.")
    access_key_id: str = Field(default="", description="ses: the access key's name.")
    access_key_id_env: str = Field(default="AWS_ACCESS_KEY_ID", description="ses: the variable that has it.")
    secret_access_key: SecretStr | None = Field(default=None, description="ses: the secret; better in the environment.")
    secret_access_key_env: str = Field(
        default="AWS_SECRET_ACCESS_KEY", description="ses: the variable that has the secret."
    )
    session_token: SecretStr | None = Field(default=None, description="ses: the token of keys that end.")
    session_token_env: str = Field(
        default="AWS_SESSION_TOKEN", description="ses: the variable that has the token, read if it has the secret, too."
    )
    configuration_set: str = Field(default="", max_length=64, description="ses: the configuration set.")
    sender: str = Field(description="Whom mail is from if the call does not say.")
    senders: tuple[str, ...] = Field(default=(), description="Whom else it may be from, such as *@example.com.")
    recipients: tuple[str, ...] = Field(default=("*",), description="Who may get it, such as *@example.com.")

    @model_validator(mode="after")
    def _is_whole(self) -> MailServer:
        foreign = sorted(self.model_fields_set - _OF_KIND[self.kind] - _OF_ALL)
        if foreign:
            raise ValueError(f"{self.kind} has no {foreign[0]}; leave it out, or set another kind")
        if self.kind == "smtp" and not self.host:
            raise ValueError("smtp needs host, the server")
        if self.kind == "ses" and not self.region:
            raise ValueError("ses needs region, such as eu-central-1")
        if self.user and self.security == "none":
            raise ValueError("user needs TLS, which a password is sent over; set security to starttls or tls")
        return self

    @property
    def usual_port(self) -> int:
        """The port that is set, or that which servers of the kind use."""
        return self.port or _PORTS[self.security]


class EmailSettings(BaseModel):
    """``[tools.email-sender]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    servers: Annotated[dict[str, MailServer], Policy.LOCKED] = Field(
        default={}, description="By the names that scripts use."
    )
    timeout_s: Annotated[float, Policy.LOWER_ONLY] = Field(default=30.0, gt=0, description="How long sending may take.")
    max_recipients: Annotated[int, Policy.LOWER_ONLY] = Field(default=50, ge=1, description="The most who get one.")
    max_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=10 * 1024 * 1024, ge=1024, description="The largest e-mail, with its attachments as they are sent."
    )
