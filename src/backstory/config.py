"""Settings, read once at the edge from the environment and frozen; how many cores there are."""

import os
from pathlib import Path

import platformdirs
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backstory.errors import UsageError

DEFAULT_SCHEMA = "backstory"
# PostgreSQL cuts identifiers at 63 bytes; roles named after the schema need room for a suffix.
MAX_SCHEMA_LENGTH = 48
# With a limit of one, two leads of one phone would be a hub: nothing would link but messenger ids.
FEWEST_FOR_A_HUB = 2


class Settings(BaseSettings):
    """Where the database is and how it is used.

    `database_url` (DATABASE_URL): a server, 16 or newer; None means the embedded PostgreSQL.
    `home` (BACKSTORY_HOME): a directory for the embedded database and for runs' spill files.
    `db_linger` (BACKSTORY_DB_LINGER): seconds the embedded server outlives its last user.
    `context_memory_enabled` (CONTEXT_MEMORY_ENABLED): whether agents are offered memory at all.
    `region` (BACKSTORY_REGION): reads phones without a country code, ISO 3166.
    `hub_limit` (BACKSTORY_HUB_LIMIT): a phone or an e-mail address of more otherwise unconnected
    identities than that links nobody.
    `embedding_model` (BACKSTORY_EMBEDDING_MODEL): a model's name below the home, its directory, or
    its name at the service.
    `embedding_url` (BACKSTORY_EMBEDDING_URL): an OpenAI-compatible service that embeds, as
    `https://host/v1`; `embedding_key` (BACKSTORY_EMBEDDING_KEY) is its key.
    `chat_url` (BACKSTORY_CHAT_URL): an OpenAI-compatible service with a language model,
    `chat_model`, and a key, `chat_key`; without both nobody is asked. No run makes more than
    `chat_calls` calls or spends more than `chat_tokens` tokens.
    `line_rules` (BACKSTORY_LINE_RULES): a TOML file of your own rules by which events read as a
    line; they go before ours.
    """

    model_config = SettingsConfigDict(env_prefix="BACKSTORY_", frozen=True, extra="ignore")

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    database_schema: str = Field(default=DEFAULT_SCHEMA, validation_alias="BACKSTORY_SCHEMA")
    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("backstory")))
    db_linger: float = Field(default=600.0, ge=0)
    context_memory_enabled: bool = Field(default=False, validation_alias="CONTEXT_MEMORY_ENABLED")
    region: str = Field(default="US", pattern=r"^[A-Z]{2}$")
    hub_limit: int = Field(default=25, ge=FEWEST_FOR_A_HUB)
    embedding_model: str = Field(default="all-minilm-l6-v2-int8", min_length=1)
    embedding_url: str | None = Field(default=None)
    embedding_key: SecretStr | None = Field(default=None)
    chat_url: str | None = Field(default=None)
    chat_model: str | None = Field(default=None)
    chat_key: SecretStr | None = Field(default=None)
    line_rules: Path | None = Field(default=None)
    chat_calls: int = Field(default=500, ge=0)
    chat_tokens: int = Field(default=1_000_000, ge=0)

    @field_validator("database_schema")
    @classmethod
    def _schema_is_a_plain_name(cls, name: str) -> str:
        return check_schema_name(name)

    @field_validator("database_url", "embedding_url", "chat_url", "chat_model")
    @classmethod
    def _blank_is_none(cls, url: str | None) -> str | None:
        return url or None

    @field_validator("line_rules", mode="before")
    @classmethod
    def _blank_is_no_file(cls, path: object) -> object:
        return path or None

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()


def cores() -> int:
    """Return how many cores this process may use."""
    # Not on macOS.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_schema_name(name: str) -> str:
    """Return `name` if it can be a schema of ours, else raise UsageError."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()
    if not plain or not name[0].isalpha() or len(name) > MAX_SCHEMA_LENGTH:
        raise UsageError(
            f"{name!r} cannot be a schema name: use up to {MAX_SCHEMA_LENGTH} lower-case letters, "
            "digits and underscores, beginning with a letter."
        )
    if name in {"public", "information_schema"} or name.startswith("pg_"):
        raise UsageError(f"{name!r} belongs to PostgreSQL: choose another --schema.")
    return name
