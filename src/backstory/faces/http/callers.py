"""Who asks: a key of the business, a key of its staff, or the token of a session."""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from backstory.errors import NotAllowed, NotRecognized
from backstory.faces.http.limits import Buckets
from backstory.faces.http.problems import TooMuch
from backstory.faces.http.service import Service, service_of
from backstory.model import KeyProfile
from backstory.store.keys import PREFIX, ApiKey
from backstory.tools.access import TOKEN_PREFIX
from backstory.tools.session import Session

_KEY = HTTPBearer(
    scheme_name="key",
    bearerFormat="bsk_agent_... or bsk_staff_...",
    description="A key of the business (`backstory key create`): it opens sessions and records "
    "events; one of the profile staff also reads across customers.",
    auto_error=False,
)
_STAFF = HTTPBearer(
    scheme_name="staff",
    bearerFormat="bsk_staff_...",
    description="A key of the profile staff (`backstory key create NAME --profile staff`).",
    auto_error=False,
)
_TOKEN = HTTPBearer(
    scheme_name="session",
    bearerFormat="bst_...",
    description="The token of a session, which reaches one customer for a short time.",
    auto_error=False,
)


async def key_of(request: Request, _documented: Annotated[object, Security(_KEY)]) -> ApiKey:
    """Return the key that asks; raises NotRecognized or TooMuch."""
    return await _key(request, service_of(request))


async def staff_of(request: Request, _documented: Annotated[object, Security(_STAFF)]) -> ApiKey:
    """Return the staff's key that asks; raises NotAllowed for another one."""
    return _of_staff(await _key(request, service_of(request)))


async def session_of(request: Request, _documented: Annotated[object, Security(_TOKEN)]) -> Session:
    """Return the session that asks; raises NotRecognized or TooMuch."""
    return await _session(request, service_of(request))


async def staff_or_session(
    request: Request,
    _staff: Annotated[object, Security(_STAFF)],
    _token: Annotated[object, Security(_TOKEN)],
) -> ApiKey | Session:
    """Return the staff's key or the session that asks."""
    if credential(request.headers).startswith(TOKEN_PREFIX):
        return await _session(request, service_of(request))
    return _of_staff(await _key(request, service_of(request)))


async def anyone_known(
    request: Request,
    _key_documented: Annotated[object, Security(_KEY)],
    _token: Annotated[object, Security(_TOKEN)],
) -> ApiKey | Session:
    """Return whoever asks, if it is known at all."""
    if credential(request.headers).startswith(TOKEN_PREFIX):
        return await _session(request, service_of(request))
    return await _key(request, service_of(request))


Key = Annotated[ApiKey, Depends(key_of)]
Staff = Annotated[ApiKey, Depends(staff_of)]
Caller = Annotated[Session, Depends(session_of)]
StaffOrSession = Annotated[ApiKey | Session, Depends(staff_or_session)]
Known = Annotated[ApiKey | Session, Depends(anyone_known)]


async def _key(request: Request, service: Service) -> ApiKey:
    text = credential(request.headers)
    key = service.access.remembered_key(text)
    if key is None:
        key = await _looked_up(request, service, text)
    _let_through(service.keys, key.id)
    return key


async def _looked_up(request: Request, service: Service, text: str) -> ApiKey:
    if not text.startswith(PREFIX):
        raise NotRecognized
    # Whoever tries keys out is slowed down before the database hears of it.
    if not service.access.has_met(text):
        _let_through(service.strangers, request.client.host if request.client else "")
    return await run_in_threadpool(service.access.key, text)


async def _session(request: Request, service: Service) -> Session:
    token = credential(request.headers)
    session = service.access.remembered_session(token)
    if session is None:
        session = await run_in_threadpool(service.access.session, token)
    _let_through(service.sessions, token)
    return session


def credential(headers: Headers) -> str:
    """Return what stands behind Bearer, nothing if that is not there."""
    scheme, _, text = headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _of_staff(key: ApiKey) -> ApiKey:
    if key.profile is not KeyProfile.STAFF:
        raise NotAllowed("This reads across customers: it needs a key of the profile staff.")
    return key


def _let_through(buckets: Buckets, caller: object) -> None:
    seconds = buckets.wait(caller)
    if seconds:
        raise TooMuch(seconds)
