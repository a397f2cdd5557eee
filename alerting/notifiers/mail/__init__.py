"""Mail, through an SMTP server: `letters` writes, `mailbox` sends, `posting` is the line."""

from alerting.notifiers.mail.mailbox import Mailbox

__all__ = ["Mailbox"]
