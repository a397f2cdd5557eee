"""A message as a letter: plain text and HTML, its picture within, and the headers that make an incident one thread."""

from __future__ import annotations

import re
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from hashlib import blake2b
from html import escape
from typing import TYPE_CHECKING

from alerting.destinations import address
from alerting.model import NotifyError
from alerting.notifiers.text import cut_plain, encodable, plain

if TYPE_CHECKING:
    from alerting.model import Message

SUBJECT = 150  # characters
POLICY = SMTP.clone(cte_type="7bit")  # a server need not take 8-bit mail
PICTURE = "picture"  # content id, before the domain
_LINKED = re.compile(r"\s\(https?://[^)\s]*\)")  # what `plain` makes of a link: no part of a subject


def letter(message: Message, sender: str, to: tuple[str, ...], reply_to: str = "") -> EmailMessage:
    """`reply_to`: the Message-ID that it answers. The same message has the same Message-ID, however often it is sent.

    Raises NotifyError (permanent) for what cannot be written as mail.
    """
    made, text = EmailMessage(POLICY), encodable(plain(message.text))
    domain = address(sender).rpartition("@")[2]
    try:
        for name, value in _headers(message, domain, reply_to).items():
            if value:
                made[name] = value
        made["Subject"] = cut_plain(" ".join(_LINKED.sub("", text.split("\n")[0]).split()), SUBJECT)
        made["From"], made["To"] = sender, ", ".join(to)
        made.set_content(text)
        made.add_alternative(_html(message, domain), subtype="html")
        page = made.get_body(("html",))
        if message.photo is not None and page is not None:
            page.add_related(message.photo, "image", "png", cid=f"<{PICTURE}@{domain}>", filename="picture.png")
    except ValueError as error:
        raise NotifyError(f"E-mail: cannot be written as mail ({error})", permanent=True) from None
    return made


def _headers(message: Message, domain: str, reply_to: str) -> dict[str, str]:
    """An incident's letters all name its thread, so that they stay together where the first one is absent."""
    thread = f"<{_digest(message.incident)}@{domain}>" if message.incident else ""
    return {
        "Date": formatdate(),
        "Message-ID": f"<{_digest(message.key)}@{domain}>",
        "In-Reply-To": reply_to or thread,
        "References": " ".join(filter(None, dict.fromkeys((thread, reply_to)))),
        "Auto-Submitted": "auto-generated",
        "Importance": "" if message.quiet else "high",
    }


def _html(message: Message, domain: str) -> str:
    """The chat's HTML is a part of a mail's; lines are broken by marks there."""
    text = encodable(message.text).replace("\n", "<br>\n")
    picture = f'<br>\n<img src="cid:{PICTURE}@{domain}" alt="{escape(plain(message.text))}" style="max-width:100%">'
    return f"<html><body><p>{text}{picture if message.photo is not None else ''}</p></body></html>\n"


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
