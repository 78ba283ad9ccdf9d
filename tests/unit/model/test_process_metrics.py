"""The list of metrics that both sides name."""

from mta.model.process_metrics import PERMIT_STOPS, PROCESS_METRICS, SETTLED


def test_no_two_metrics_share_a_key_or_a_name() -> None:
    assert len({metric.key for metric in PROCESS_METRICS}) == len(PROCESS_METRICS)
    assert len({metric.name for metric in PROCESS_METRICS}) == len(PROCESS_METRICS)


def test_a_label_has_a_key_for_each_of_its_values() -> None:
    assert PERMIT_STOPS.of("mail") == "permit_stops:mail"
    assert SETTLED.each({"delivered": 2, "bounced": 1}) == {"settled:delivered": 2, "settled:bounced": 1}
