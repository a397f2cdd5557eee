"""What the person on duty does at the keyboard: silence, listen for answers, drill, and see how things stand."""

from alerting.duty.drilling import drill
from alerting.duty.labelling import labels
from alerting.duty.listening import listen
from alerting.duty.silencing import lengths, silence, silences, unsilence
from alerting.duty.standing import status

__all__ = ["drill", "labels", "lengths", "listen", "silence", "silences", "status", "unsilence"]
