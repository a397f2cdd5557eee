"""The only place with words people receive: an event and its context go in, a text or a picture for the chat comes out. Pure."""

from alerting.messages.texts import Context, Reader, caught_up, compose, picture, run_failed

__all__ = ["Context", "Reader", "caught_up", "compose", "picture", "run_failed"]
