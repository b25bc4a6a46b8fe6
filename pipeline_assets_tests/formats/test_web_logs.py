"""Ready formats of the logs of web servers and load balancers: a request becomes an event, and the rest is kept."""

import json
from datetime import datetime
from typing import Any

import pytest

from pipeline_assets.sources.formats import READY_FORMATS
from pipeline_assets_tests.formats.landed import declare, given, load_text

AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/124.0"
ALB = (
    "https 2024-05-01T10:00:01.166351Z app/shop/50dc6c495c0c9188 203.0.113.7:2817 10.0.0.1:80 0.086 0.048 0.037 200 200"
    f' 34 366 "GET https://shop.example:443/cart?a=b HTTP/2.0" "{AGENT}" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 '
    'arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/web/7 "Root=1-2-3"'
)
ALB_APPENDED = (
    ' "shop.example" "arn:aws:acm:eu-central-1:1:certificate/9" 1 2024-05-01T10:00:01.080000Z "forward" "-" "-" '
    '"10.0.0.1:80" "200" "-" "-"'
)
ELB = "2024-05-01T10:00:01.166351Z shop 203.0.113.7:2817 10.0.0.1:80 0.000073 0.001048 0.000057"
S3 = (
    "79a59df9 assets [01/May/2024:10:00:01 +0000] 203.0.113.7 - 3E57427F3 WEBSITE.GET.OBJECT cart.html "
    f'"GET /cart.html?a=b HTTP/1.1" 200 - 113 113 7 6 "https://g.example/" "{AGENT}" -'
)
S3_APPENDED = (
    " s9lzHYrFp76Z= SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader assets.s3.eu-central-1.amazonaws.com TLSv1.2 - Yes"
)
HAPROXY = (
    "203.0.113.7:33317 [01/May/2024:10:00:01.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 "
)
TRAEFIK = (
    f'203.0.113.7 - ann [01/May/2024:10:00:01 +0000] "GET /cart?a=b HTTP/2.0" 200 12 "https://g.example/" "{AGENT}" '
    '7 "web@docker" "http://10.0.0.2:80" 3ms'
)


def rows_of(name: str, *lines: str, **attributes: Any) -> list[dict[str, Any]]:
    """The events of some lines, all of which must be good."""
    rows, booked = load_text(declare(name, **attributes), "".join(f"{line}\n" for line in lines))
    assert booked.quarantined == []
    return rows


def page(row: dict[str, Any]) -> tuple[Any, ...]:
    """What every log says of a page view."""
    return given(row, "event_type", "event_name", "page_url", "referrer_url", "user_agent", "user_id")


def rest(row: dict[str, Any], *names: str) -> dict[str, Any]:
    properties = json.loads(row["properties"])
    return {name: properties[name] for name in names} if names else properties


def test_a_line_of_an_application_load_balancer_old_and_new():
    old, new, newest = rows_of(
        "aws_alb_log", ALB, ALB + ALB_APPENDED, f'{ALB}{ALB_APPENDED} TID_1234 "-" "/new uri" "Transformed"'
    )
    for row in (old, new, newest):
        url = "https://shop.example/cart?a=b"
        assert page(row) == ("page", "page_viewed", url, None, AGENT, None)
        assert row["occurred_at"] == datetime.fromisoformat("2024-05-01T10:00:01.166351Z")
        assert rest(row, "remote_host", "status", "method", "bytes_sent", "trace_id") == {
            "remote_host": "203.0.113.7", "status": "200", "method": "GET", "bytes_sent": "366",
            "trace_id": "Root=1-2-3",
        }  # fmt: skip
    assert "domain_name" not in rest(old)
    assert rest(new, "domain_name", "target_status_list") == {
        "domain_name": "shop.example",
        "target_status_list": "200",
    }
    assert "redirect_url" not in rest(new)
    assert rest(newest, "conn_trace_id", "further_fields") == {
        "conn_trace_id": "TID_1234", "further_fields": '"-" "/new uri" "Transformed"',
    }  # fmt: skip


def test_a_request_that_a_load_balancer_could_not_read_is_an_event_and_no_page():
    odd = ALB.replace("GET https://shop.example:443/cart?a=b HTTP/2.0", "- http://shop.example:80- -")
    (row,) = rows_of("aws_alb_log", odd.replace(" 200 200 ", " 460 - "))
    assert page(row)[:3] == ("track", "request", None)
    assert rest(row, "request")["request"] == "- http://shop.example:80- -"


def test_a_line_of_a_classic_load_balancer_old_and_new_and_of_a_plain_connection():
    request = '200 200 0 29 "GET http://shop.example:80/ HTTP/1.1"'
    old, new, tcp, ipv6 = rows_of(
        "aws_elb_log",
        f"{ELB} {request}",
        f'{ELB} {request} "{AGENT}" - -',
        f'{ELB} - - 82 305 "- - - " "-" - -',
        f"{ELB} {request}".replace("203.0.113.7", "2001:db8::7"),
    )
    assert page(old)[:5] == ("page", "page_viewed", "http://shop.example/", None, None)
    assert page(new)[:5] == ("page", "page_viewed", "http://shop.example/", None, AGENT)
    assert page(tcp)[:3] == ("track", "request", None)
    assert rest(ipv6, "remote_host", "remote_port") == {"remote_host": "2001:db8::7", "remote_port": "2817"}


def test_a_line_of_s3_is_read_old_and_new_and_with_dashes_in_place_of_quotes():
    old, new, dashes = rows_of(
        "s3_access_log", S3, f"{S3}{S3_APPENDED} eu-central-1 more", S3.replace('"https://g.example/"', "-")
    )
    assert page(old) == ("page", "page_viewed", "/cart.html?a=b", "https://g.example/", AGENT, None)
    assert page(new)[2] == "https://assets.s3.eu-central-1.amazonaws.com/cart.html?a=b"
    assert rest(new, "operation", "acl_required", "source_region", "further_fields") == {
        "operation": "WEBSITE.GET.OBJECT", "acl_required": "Yes", "source_region": "eu-central-1",
        "further_fields": "more",
    }  # fmt: skip
    assert page(dashes)[3] is None


def test_a_line_of_haproxy_is_read_with_and_without_syslog_and_captured_headers():
    request = '"GET /cart?a=b HTTP/1.1"'
    bare, syslog, captured, cut, bad, encoded = rows_of(
        "haproxy_http_log",
        HAPROXY + request,
        f"May  1 10:00:01 localhost haproxy[14389]: {HAPROXY}{{shop.example}} {{}} {request}",
        f"{HAPROXY}{{shop.example|{AGENT}}} {request}",
        HAPROXY + request[:-9],
        HAPROXY.replace(" 200 ", " 400 ") + '"<BADREQ>"',
        f'{HAPROXY}"GET /say#22hi#22 HTTP/1.1"',
        mapping={"user_agent": "split_part(captured_request_headers, '|', 2)"},
    )
    for row in (bare, syslog, captured):
        assert page(row)[:3] == ("page", "page_viewed", "/cart?a=b")
        assert row["occurred_at"] == datetime.fromisoformat("2024-05-01T10:00:01.655Z")
    assert rest(syslog, "syslog", "captured_request_headers", "backend", "server") == {
        "syslog": "May  1 10:00:01 localhost haproxy[14389]:", "captured_request_headers": "shop.example",
        "backend": "static", "server": "srv1",
    }  # fmt: skip
    assert captured["user_agent"] == AGENT
    assert cut["page_url"] == "/cart?a=b"
    assert page(bad)[:3] == ("track", "request", None)
    assert encoded["page_url"] == '/say"hi"'


def test_both_formats_of_traefik_are_read():
    (line,) = rows_of("traefik_log", TRAEFIK)
    (record,) = rows_of(
        "traefik_json",
        json.dumps(
            {
                "ClientHost": "203.0.113.7", "ClientUsername": "ann", "DownstreamStatus": 200, "RequestMethod": "GET",
                "RequestHost": "shop.example", "RequestPath": "/cart?a=b", "RequestScheme": "https",
                "StartUTC": "2024-05-01T10:00:01.123456789Z", "time": "2024-05-01T10:00:02Z",
                "request_User-Agent": AGENT, "request_Referer": "https://g.example/",
            }
        ),
    )  # fmt: skip
    assert page(line) == ("page", "page_viewed", "/cart?a=b", "https://g.example/", AGENT, "ann")
    assert rest(line, "router", "request_time_ms") == {"router": "web@docker", "request_time_ms": "3"}
    assert page(record) == (
        "page", "page_viewed", "https://shop.example/cart?a=b", "https://g.example/", AGENT, "ann",
    )  # fmt: skip
    assert record["occurred_at"] == datetime.fromisoformat("2024-05-01T10:00:01.123456Z")
    assert line["anonymous_id"] == record["anonymous_id"]


def test_caddy_of_today_and_of_before_it_told_the_client():
    request = {
        "remote_ip": "10.0.0.1", "client_ip": "203.0.113.7", "method": "GET", "host": "shop.example",
        "uri": "/cart?a=b", "headers": {"User-Agent": [AGENT], "Referer": ["https://g.example/"]},
        "tls": {"proto": "h2"},
    }  # fmt: skip
    old = {"remote_addr": "203.0.113.7:5120", "method": "GET", "host": "shop.example", "uri": "/", "headers": {}}
    common = {"ts": 1714557601.5241024, "status": 200, "user_id": ""}
    new, before = rows_of(
        "caddy_json", json.dumps({**common, "request": request}), json.dumps({**common, "request": old})
    )
    assert page(new) == ("page", "page_viewed", "https://shop.example/cart?a=b", "https://g.example/", AGENT, None)
    assert new["occurred_at"] == datetime.fromisoformat("2024-05-01T10:00:01.524102Z")
    assert page(before)[2:5] == ("http://shop.example/", None, None)
    addressed = rows_of("caddy_json", json.dumps({**common, "request": {**old, "remote_addr": "[203.0.113.7]:1"}}))
    assert addressed[0]["anonymous_id"] == before["anonymous_id"]


@pytest.mark.parametrize(
    "record",
    [
        {"time_iso8601": "2024-05-01T12:00:01+02:00", "request_uri": "/cart?a=b", "http_host": "shop.example"},
        {"@timestamp": "2024-05-01T10:00:01Z", "uri": "/cart", "args": "a=b", "host": "shop.example"},
        {"time_local": "01/May/2024:12:00:01 +0200", "request": "GET /cart?a=b HTTP/2.0", "host": "shop.example"},
        {"time": "01/May/2024:12:00:01 +0200", "request_uri": "/cart?a=b", "http_host": "shop.example"},
        {"msec": 1714557601.000, "request_uri": "/cart?a=b", "host": "shop.example", "request": ""},
    ],
)  # fmt: skip
def test_json_of_nginx_under_the_usual_names(record: dict[str, Any]):
    common = {
        "remote_addr": "203.0.113.7", "remote_user": "", "status": "200", "scheme": "https", "http_referer": "-",
        "http_user_agent": AGENT,
    }  # fmt: skip
    (row,) = rows_of("nginx_json", json.dumps({**common, **record}))
    assert page(row) == ("page", "page_viewed", "https://shop.example/cart?a=b", None, AGENT, None)
    assert row["occurred_at"] == datetime.fromisoformat("2024-05-01T10:00:01Z")


CLOUDFRONT = {
    "date": "2024-05-01", "time": "10:00:01", "c-ip": "203.0.113.7", "cs-method": "GET",
    "cs(Host)": "d1.cloudfront.net", "cs-uri-stem": "/my%2520cart", "sc-status": "200", "cs(Referer)": "https://g.example/?q=%25C3%25A4",
    "cs(User-Agent)": AGENT.replace(" ", "%20"), "cs-uri-query": "a=b%2526c", "x-host-header": "shop.example",
    "cs-protocol": "https", "cs(Cookie)": "-",
}  # fmt: skip


@pytest.mark.parametrize("name", ["cloudfront_log", "cloudfront_json"])
@pytest.mark.parametrize("space", ["%20", "%2520"])
def test_cloudfront_in_both_of_its_formats_with_agents_that_are_encoded_once_or_twice(name: str, space: str):
    record = {**CLOUDFRONT, "cs(User-Agent)": AGENT.replace(" ", space)}
    lines = ["#Version: 1.0", f"#Fields: {' '.join(record)}", "\t".join(record.values())]
    (row,) = rows_of(name, *(lines if name == "cloudfront_log" else [json.dumps(record)]))
    assert page(row) == (
        "page", "page_viewed", "https://shop.example/my%20cart?a=b%26c", "https://g.example/?q=%C3%A4", AGENT, None,
    )  # fmt: skip
    assert row["occurred_at"] == datetime.fromisoformat("2024-05-01T10:00:01Z")


def test_cloudfront_json_with_milliseconds_has_them_and_needs_no_date():
    record = {name: value for name, value in CLOUDFRONT.items() if name not in ("date", "time")}
    (row,) = rows_of("cloudfront_json", json.dumps({**record, "timestamp(ms)": "1714557601814"}))
    assert row["occurred_at"] == datetime.fromisoformat("2024-05-01T10:00:01.814Z")


def test_real_time_logs_of_cloudfront_are_read_as_json():
    record = {
        "timestamp": "1714557601.814", "c-ip": "203.0.113.7", "cs-method": "GET", "cs-host": "shop.example",
        "cs-uri-stem": "/cart?a=b", "cs-uri-query": "a=b", "sc-status": "200", "cs-protocol": "https",
        "cs-user-agent": AGENT.replace(" ", "%20"), "cs-referer": "-",
    }  # fmt: skip
    (row,) = rows_of("cloudfront_json", json.dumps(record))
    assert page(row) == ("page", "page_viewed", "https://shop.example/cart?a=b", None, AGENT, None)
    assert row["occurred_at"] == datetime.fromisoformat("2024-05-01T10:00:01.814Z")


def test_one_visitor_is_one_visitor_in_every_log_and_no_id_shows_the_address():
    (alb,), (s3,), (traefik,) = (
        rows_of("aws_alb_log", ALB),
        rows_of("s3_access_log", S3),
        rows_of("traefik_log", TRAEFIK),
    )
    (cloudfront,) = rows_of("cloudfront_json", json.dumps(CLOUDFRONT))
    assert len({row["anonymous_id"] for row in (alb, s3, traefik, cloudfront)}) == 1
    assert "203" not in alb["anonymous_id"]


@pytest.mark.parametrize("name", [name for name, ready in READY_FORMATS.items() if ready.log])
def test_a_line_of_another_log_is_quarantined_and_told_what_it_looks_like(name: str):
    lines = {
        "aws_alb_log": ALB, "aws_elb_log": f'{ELB} 200 200 0 29 "GET http://shop.example:80/ HTTP/1.1"',
        "s3_access_log": S3, "haproxy_http_log": f'{HAPROXY}"GET / HTTP/1.1"', "traefik_log": TRAEFIK,
    }  # fmt: skip
    _, booked = load_text(declare(name), "\n".join(lines.values()))
    told = {list(lines)[bad.line - 1]: bad.reason for bad in booked.quarantined}
    assert told.keys() == lines.keys() - {name}
    for other, reason in told.items():
        assert reason.startswith("not_a_log_line: ")
        assert reason.endswith(f"; it looks like {other}")


def test_a_file_in_which_no_line_fits_is_told_with_what_to_declare(caplog: pytest.LogCaptureFixture):
    source = declare("combined_log", mapping={"occurred_at": "time", "anonymous_id": "remote_host"})
    load_text(source, f"www.example.com:443 {TRAEFIK}\n")
    load_text(source, f"{TRAEFIK}\n{TRAEFIK}\n")
    load_text(source, TRAEFIK.split(' 7 "web', maxsplit=1)[0])
    unknown, known = [record.getMessage() for record in caplog.records]
    assert unknown == (
        "events.txt: no line fits the format combined_log (what does not fit: remote_host). "
        "Declare `format: access_log` and, as `log_format`, the format string of the server's configuration."
    )
    assert known == (
        "events.txt: no line fits the format combined_log (what does not fit: more after user_agent). "
        "The lines look like traefik_log: declare `format: traefik_log`."
    )


def test_the_secure_log_of_haproxy_keeps_what_it_says_of_tls():
    tls = "0/0000000000000000/0/0/0 shop.example/TLSv1.3/TLS_AES_256_GCM_SHA384"
    (row,) = rows_of("haproxy_http_log", f'{HAPROXY}"GET / HTTP/1.1" {tls}')
    assert (row["page_url"], rest(row, "tls")) == ("/", {"tls": tls})
