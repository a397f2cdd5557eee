"""The texts that people receive: an event and its context go in, a message for the chat comes out. Pure."""

from alerting.messages.compose import compose, plain_text
from alerting.messages.context import Audience, MemberContext, MessageContext

__all__ = ["Audience", "MemberContext", "MessageContext", "compose", "plain_text"]
