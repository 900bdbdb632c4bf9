"""A few small loads on top of one another, for hypothesis to choose from."""

from hypothesis import strategies as st
from loaded_world import lead, record

ids = st.integers(0, 5)
some_leads = st.lists(
    st.builds(
        lambda number, phone, mail, stage, minute: lead(
            f"lead-{number}",
            phone=phone and f"512 555 010{phone}",
            email=mail and f"{mail}@example.com",
            stage=stage,
            created_at=minute and f"2026-05-01T00:{minute:02}:00Z",
        ),
        ids,
        st.sampled_from([None, None, 1, 2]),
        st.sampled_from([None, None, "a", "b"]),
        st.sampled_from([None, "new", "won"]),
        st.sampled_from([None, 1, 2, 3]),
    ),
    max_size=5,
)
some_records = st.lists(
    st.builds(
        lambda number, name, words, actor: record(
            number, f"lead-{name}", payload={"text": words} if words else {}, actor=actor
        ),
        st.integers(0, 30),
        ids,
        st.sampled_from(["hello", "hello", "goodbye", ""]),
        st.sampled_from(["customer", "agent", "agent", "robot"]),
    ),
    max_size=12,
)
some_runs = st.lists(st.tuples(some_records, st.none() | some_leads), min_size=1, max_size=3)
