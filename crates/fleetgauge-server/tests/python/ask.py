"""Asks the server at the address given by the package prometheus-api-client, and prints what it made of the answers."""

import datetime
import json
import sys

from prometheus_api_client import PrometheusConnect

url, start = sys.argv[1], int(sys.argv[2])


def at(seconds):
    return datetime.datetime.fromtimestamp(start + seconds, datetime.timezone.utc)


def in_order(series):
    return sorted(series, key=lambda one: json.dumps(one["metric"], sort_keys=True))


client = PrometheusConnect(url=url, disable_ssl=True)
known = {"start": start, "end": start + 600}
now = {"time": start + 300}
made = {
    "connected": client.check_prometheus_connection(),
    "names": sorted(client.all_metrics(params=known)),
    "labels": sorted(client.get_label_names(params=known)),
    "values": client.get_label_values("pod", params=known),
    "series": len(client.get_series(start=at(0), end=at(600), params={"match[]": "queue"})),
    "current": in_order(
        client.get_current_metric_value("queue", label_config={"model": "llama"}, params=now)
    ),
    "query": in_order(client.custom_query("sum by (pod) (rate(requests_total[2m]))", params=now)),
    "range": in_order(client.custom_query_range("queue * 2", start_time=at(0), end_time=at(300), step="30")),
    "metric_range": in_order(
        client.get_metric_range_data("queue", start_time=at(0), end_time=at(600), chunk_size=datetime.timedelta(seconds=600))
    ),
    "metadata": client.get_metric_metadata("queue"),
    "targets": len(client.get_targets()["activeTargets"]),
}
print(json.dumps(made))
