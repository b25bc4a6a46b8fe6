"""CloudEvents 1.0 in structured JSON mode.

The envelope says what happened and when, not to whom: a declaration maps anonymous_id or user_id, mostly from `data`.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from pipeline_assets.sources.formats.ready import ReadyFormat, TableLayout

FORMAT = ReadyFormat(
    name="cloudevents",
    title="CloudEvents in structured JSON mode",
    records="jsonl",
    marks=(("specversion", "type", "source", "id"),),
    table=TableLayout(json=("data",)),
    mapping={
        # An id is unique within its source only.
        "event_id": "source || ' ' || id",
        "event_name": "type",
        "occurred_at": '"time"',
        # The extension of this name, where its values are numbers.
        "sequence": "TRY_CAST(sequence AS BIGINT)",
    },
    required=("event_id", "event_name"),
)
