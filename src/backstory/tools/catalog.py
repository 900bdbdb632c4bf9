"""The lists of tools, the agent's and the staff's: whatever offers them, offers these."""

from backstory.tools.customers import (
    AddAddress,
    AddressAdded,
    ProfileUpserted,
    UpsertCustomerProfile,
    add_address,
    upsert_customer_profile,
)
from backstory.tools.jobs import (
    AddJobItem,
    CreateJob,
    JobCreated,
    JobEventRecorded,
    JobItemAdded,
    RecordJobEvent,
    add_job_item,
    create_job,
    record_job_event,
)
from backstory.tools.memory import (
    CandidatesFetched,
    ContextConfirmed,
    MemoryConfirmContext,
    MemoryFetchCandidates,
    memory_confirm_context,
    memory_fetch_candidates,
)
from backstory.tools.staff_customers import (
    CustomerGot,
    CustomersFound,
    FindCustomers,
    GetCustomer,
    find_customers,
    get_customer,
)
from backstory.tools.staff_messages import (
    ConversationGot,
    GetConversation,
    MessagesFound,
    MessageTraced,
    SearchMessages,
    TraceMessage,
    get_conversation,
    search_messages,
    trace_message,
)
from backstory.tools.tool import Tool

MEMORY_TOOLS: tuple[Tool, ...] = (
    Tool(
        memory_fetch_candidates,
        MemoryFetchCandidates,
        CandidatesFetched,
        title="Look for what was before",
        idempotent=True,
        reads_only=True,
    ),
    Tool(
        memory_confirm_context,
        MemoryConfirmContext,
        ContextConfirmed,
        title="Confirm what the customer meant",
        idempotent=True,
    ),
)
TOOLS: tuple[Tool, ...] = (
    Tool(
        upsert_customer_profile,
        UpsertCustomerProfile,
        ProfileUpserted,
        title="Write down who the customer is",
        idempotent=True,
        overwrites=True,
    ),
    Tool(
        add_address,
        AddAddress,
        AddressAdded,
        title="Keep an address",
        idempotent=True,
        overwrites=True,
    ),
    Tool(create_job, CreateJob, JobCreated, title="Open a job", idempotent=False),
    Tool(add_job_item, AddJobItem, JobItemAdded, title="Add a line to a job", idempotent=False),
    Tool(
        record_job_event,
        RecordJobEvent,
        JobEventRecorded,
        title="Record what happened to a job",
        idempotent=False,
    ),
    *MEMORY_TOOLS,
)

# Across customers, by explicit ids, behind another key: no agent is ever offered one of these.
STAFF_TOOLS: tuple[Tool, ...] = tuple(
    Tool(function, takes, gives, title=title, idempotent=True, reads_only=True)
    for function, takes, gives, title in (
        (search_messages, SearchMessages, MessagesFound, "Search what was said"),
        (find_customers, FindCustomers, CustomersFound, "Find customers"),
        (get_customer, GetCustomer, CustomerGot, "Look at a customer"),
        (get_conversation, GetConversation, ConversationGot, "Read a conversation"),
        (trace_message, TraceMessage, MessageTraced, "Trace a message to its record"),
    )
)


def offered(*, memory_enabled: bool) -> tuple[Tool, ...]:
    """Return the tools an agent is offered; without memory, all but the memory tools."""
    return TOOLS if memory_enabled else tuple(tool for tool in TOOLS if tool not in MEMORY_TOOLS)
