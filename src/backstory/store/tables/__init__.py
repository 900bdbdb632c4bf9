"""Our tables as typed SQLAlchemy models: the one place where the schema is written down.

Every row a customer owns carries `customer_id` itself, and composite foreign keys with
`ON UPDATE CASCADE` keep it equal from the lead down to the message: merging two customers means
re-pointing their leads, and the database does the rest.

Ids of ours are UUIDs; ids from outside are text of any form and length (`*external_id`,
`audit_id`), which is why nothing indexes them without a bound. Money is BIGINT minor units beside
an ISO-4217 code, times are `timestamptz`.
"""

from backstory.store.tables.authored import CustomerAddress, Job, JobEvent, JobItem, MemoryNote
from backstory.store.tables.columns import Base
from backstory.store.tables.conversations import Conversation, LineRules, Message
from backstory.store.tables.embeddings import Embedding, EmbeddingModel
from backstory.store.tables.keys import ApiKey, SigningKey
from backstory.store.tables.ledgers import (
    BackfillRun,
    Confirmation,
    Conflict,
    Quarantine,
    RunChange,
    RunPartition,
    Skip,
    Tombstone,
    TombstoneKey,
    ToolCall,
)
from backstory.store.tables.log import AuditLog
from backstory.store.tables.people import Customer, CustomerIdentity, CustomerMerge, Lead
from backstory.store.tables.summaries import ConversationSummary

__all__ = [
    "ApiKey",
    "AuditLog",
    "BackfillRun",
    "Base",
    "Confirmation",
    "Conflict",
    "Conversation",
    "ConversationSummary",
    "Customer",
    "CustomerAddress",
    "CustomerIdentity",
    "CustomerMerge",
    "Embedding",
    "EmbeddingModel",
    "Job",
    "JobEvent",
    "JobItem",
    "Lead",
    "LineRules",
    "MemoryNote",
    "Message",
    "Quarantine",
    "RunChange",
    "RunPartition",
    "SigningKey",
    "Skip",
    "Tombstone",
    "TombstoneKey",
    "ToolCall",
]
