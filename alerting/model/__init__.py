"""The nouns every room shares, the ports the pipeline is handed, and the errors that cross a room's door.

Times are aware UTC everywhere: `at` is an instant, `bucket` the start of an interval of `Metric.step`.
"""

from alerting.model.chat import Action, Answer, Button, Message, Receipt, Told
from alerting.model.errors import (
    AlertingError,
    NotDelivered,
    NotifyError,
    RunFailed,
    SettingsError,
    SourceError,
    StoreError,
    moment,
)
from alerting.model.incident import Event, Incident, Member
from alerting.model.listed import Listed
from alerting.model.metric import STEP, Metric, Occasion, Policy, Query, Rule, Silence
from alerting.model.ports import History, Memory, Notifier, Source, Store
from alerting.model.route import Routes
from alerting.model.run import Arrival, Outcome, Progress, Reading, Run, Span
from alerting.model.trouble import Episode, Kind, Label, State, Status, Verdict
from alerting.model.why import Cause, Rarity, Similar, Slice

__all__ = [
    "STEP",
    "Action",
    "AlertingError",
    "Answer",
    "Arrival",
    "Button",
    "Cause",
    "Episode",
    "Event",
    "History",
    "Incident",
    "Kind",
    "Label",
    "Listed",
    "Member",
    "Memory",
    "Message",
    "Metric",
    "NotDelivered",
    "Notifier",
    "NotifyError",
    "Occasion",
    "Outcome",
    "Policy",
    "Progress",
    "Query",
    "Rarity",
    "Reading",
    "Receipt",
    "Routes",
    "Rule",
    "Run",
    "RunFailed",
    "SettingsError",
    "Silence",
    "Similar",
    "Slice",
    "Source",
    "SourceError",
    "Span",
    "State",
    "Status",
    "Store",
    "StoreError",
    "Told",
    "Verdict",
    "moment",
]
