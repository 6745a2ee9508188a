"""Calls of Kaggle's own package, whose output is passed on and whose errors become one sentence."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from kaggle.api.kaggle_api_extended import KaggleApi

T = TypeVar("T")
LOGIN = (
    "Kaggle accepted no credentials: there are none, or they have expired. Run `kaggle auth login`, or put a new token"
    " from kaggle.com/settings/api into ~/.kaggle/access_token"
)
ADVICE = {
    400: "refused it without a reason; most often the title or slug is taken, also by a notebook: choose another",
    403: "does not allow it: the owner has to be your user name",
    404: "knows no such thing: check the owner and the slug",
    429: "is asked too often: wait some minutes and run this again, what has arrived is not sent twice",
}
BUSY = "has trouble of its own: wait some minutes and run this again, what has arrived is not sent twice"
GONE = "cannot be reached or hung up: run this again once the connection works, what has arrived is not sent twice"


class KaggleError(RuntimeError):
    """A failed request to Kaggle; the message says what failed and what to do about it."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status  # of HTTP, if there was one


class _Heard(io.StringIO):
    show: Callable[[str], None] | None = None

    def write(self, text: str) -> int:
        if self.show:
            self.show(text)
        return len(text)


def ask(what: str, question: Callable[[KaggleApi], T], *, show: Callable[[str], None] | None = None) -> T:
    """Call `question` with Kaggle's logged-in `KaggleApi` and return the result.

    Messages call the request `what`; `show` is called with what the client prints, such as upload progress. Raises
    KaggleError if Kaggle refuses, cannot be reached, or reports an error in its response; ModuleNotFoundError if the
    package `kaggle` is not installed.
    """
    heard = _Heard()
    with redirect_stdout(heard), redirect_stderr(heard):
        try:
            api = logged_in()
            heard.show = show  # after the login, whose help text is replaced by the sentence below
            response = question(api)
        except SystemExit:  # of the client without credentials
            raise KaggleError(LOGIN, 401) from None
        except (OSError, ValueError) as error:  # those of requests are OSErrors, those of the client itself ValueErrors
            raise _error(what, error) from None
    if complaint := getattr(response, "error", None) or getattr(response, "error_message", None):  # with status 200
        advice = ": choose another in its metadata" if "already in use" in complaint else ""
        raise KaggleError(f"{what}: {complaint.rstrip('.')}{advice}")
    return response


@cache
def logged_in() -> KaggleApi:
    """Return the API with the user's credentials; the package is imported here, because importing it logs in, too."""
    from kaggle.api.kaggle_api_extended import KaggleApi

    api = KaggleApi()
    api.authenticate()
    return api


def _error(what: str, error: Exception) -> KaggleError:
    import requests

    response = getattr(error, "response", None)
    status = None if response is None else response.status_code
    if status == 401:
        return KaggleError(LOGIN, 401)
    if status == 403 and "rules" in response.text:
        return KaggleError("Kaggle wants the competition's rules accepted first: do that on its page, tab Rules", 403)
    if status:
        return KaggleError(f"{what}: Kaggle answered {status}, it {ADVICE.get(status, BUSY)}", status)
    if isinstance(error, requests.RequestException):
        return KaggleError(f"{what}: Kaggle {GONE}")
    if isinstance(error, OSError):
        raise error  # of this machine, such as a full disk
    return KaggleError(f"{what}: {' '.join(str(error).split())[:300]}")
