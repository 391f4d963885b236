"""Kubernetes' own rules, not a cousin's: every value is accepted exactly when the real thing accepts it.

The committed table is held in any run. Where Go is, the libraries that the API server and the kubelet use are asked
about it and about generated values; `test_api_server.py` asks the API server itself.
"""

import re
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.settings import BadSettings, Settings, names, quantity
from components.settings.image_reference import ImageReference
from runtime.schedule import Schedule
from tests.components.settings import rules_table as table
from tests.toolchain.judge import Judge

RULES: dict[str, tuple[Callable[[str], object], table.Row]] = {
    "schedule": (Schedule.parse, table.SCHEDULE),
    "image": (ImageReference.parse, table.IMAGE),
    "variable": (names.variable, table.VARIABLE),
    "data key": (names.data_key, table.DATA_KEY),
    "label's key": (names.label_key, table.LABEL_KEY),
    "label's value": (names.label_value, table.LABEL_VALUE),
    "DNS label": (names.dns_label, table.DNS_LABEL),
    "DNS name": (names.dns_name, table.DNS_NAME),
    "network": (names.cidr, table.CIDR),
    "time zone": (names.time_zone, table.ZONE),
}


def takes(check: Callable[[str], object], text: str) -> bool:
    """Whether the rule takes the text."""
    try:
        check(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("rule", RULES)
def test_table(rule):
    check, row = RULES[rule]
    assert [text for text in row.accepted if not takes(check, text)] == []
    assert [text for text in row.refused if takes(check, text)] == []


def _resources(text: str) -> object:
    return Settings.parse({"worker": {"resources": {"requests": {"memory": text}, "limits": {"memory": "9Ei"}}}})


def test_table_of_quantities():
    assert [text for text in table.QUANTITY.accepted if not takes_settings(_resources, text)] == []
    assert [text for text in table.QUANTITY.refused if takes_settings(_resources, text)] == []


def takes_settings(check: Callable[[str], object], text: str) -> bool:
    """Whether the settings take the text in its place."""
    try:
        check(text)
    except BadSettings:
        return False
    return True


def test_no_rule_lets_an_end_of_line_through():
    """`re.match(...$)` does. The one exception is Kubernetes' own: a schedule is split at white space."""
    for rule, (check, row) in RULES.items():
        if rule != "schedule":
            assert [text for text in row.accepted if takes(check, f"{text}\n")] == [], rule


_ATOMS = (
    "* ? 0 5 7 12 13 24 31 32 59 60 -1 +5 05 */2 */0 ?/1 1-5 5-1 1-5/2 3/4 MON mon JUL l 5l lw 1#2 , 1, *,1 *-5 1-2-3 "
    "1/2/3 0-6 1-7 SUN-SAT MON,WED */1 */100 23 0-23/6 1_0 0x1 99999999999999999999 000000000000000000000005"
)
_SCHEDULE_ATOMS = st.sampled_from(_ATOMS.split(" "))
_DURATIONS = st.from_regex(r"[-+]?([0-9]{0,4}(\.[0-9]{0,3})?(h|m|s|ms|us|µs|ns|d)?){0,3}", fullmatch=True)
schedules = (
    st.lists(_SCHEDULE_ATOMS, min_size=4, max_size=6).map(" ".join)
    | st.lists(st.from_regex(r"[0-9*?/,\-]{1,6}", fullmatch=True), min_size=5, max_size=5).map(" ".join)
    | _DURATIONS.map("@every {}".format)
    | st.text("0 *@\n\t\x1c\u3000", max_size=10)
)


@given(schedules)
def test_schedules_are_robfigs(judge: Judge, text):
    assert takes(Schedule.parse, text) is (judge.takes("schedule", text) and "TZ" not in text)


_DAYS = st.sampled_from(["*", "?", "13", "*/2", "1,15", "31", "30", "29", "*/1", "MON", "0", "1-5", "1-5/2", ","])


@given(_DAYS, st.sampled_from(["*", "2", "JUL", "*/3", "?", "2,4"]), _DAYS)
def test_runs_are_counted_as_kubernetes_runs_them(judge: Judge, day, month, weekday):
    """In which years `*/2 * MON` runs 212 times, not 26."""
    text = f"0 6 {day} {month} {weekday}"
    if takes(Schedule.parse, text):
        assert Schedule.parse(text).runs_in(2026) == judge.ask("schedule", text)


def test_two_day_fields():
    assert Schedule.parse("0 6 */2 * MON").runs_in(2026) == 212
    assert Schedule.parse("0 6 13 * */2").runs_in(2026) == 215
    assert Schedule.parse("0 6 13 * *").runs_in(2026) == 12
    assert not Schedule.parse("0 0 30 2 *").ever_runs()


_NAMES = "a A ab 0 a_b a__b a___b a-b a--b a.b a..b - . _ host:5000 host.io [::1] localhost é"
_PARTS = st.sampled_from(_NAMES.split(" "))
images = st.builds(
    "{}{}{}".format,
    st.lists(_PARTS, max_size=4).map("/".join) | st.text("a/:.-_A[]@", max_size=9),
    st.sampled_from(["", ":1", ":latest", ":", ":-1", ":" + "t" * 128, ":" + "t" * 129, ":1\n"]),
    st.sampled_from(
        ["", "@sha256:" + "a" * 64, "@sha256:" + "A" * 64, "@sha512:" + "a" * 128, "@md5:" + "a" * 32, "@"]
    ),
)


@given(images)
def test_images_are_read_as_the_kubelet_reads_them(judge: Judge, text):
    mine = takes(ImageReference.parse, text)
    assert mine is judge.takes("image", text)
    if mine:
        read = ImageReference.parse(text)
        assert [read.tag, read.digest] == judge.ask("image", text)


quantities = st.from_regex(r"[-+]?[0-9]{0,5}(\.[0-9]{0,4})?([numkKMGTPEi]{0,2}|[eE][-+]?[0-9]{0,2})\n?", fullmatch=True)


@given(quantities)
@example(text="E-10")
@example(text="e-9")
def test_quantities_are_the_servers(judge: Judge, text):
    mine = takes(quantity.parse, text)
    assert mine is judge.takes("quantity", text)
    if mine:
        assert quantity.parse(text) == Decimal(judge.ask("quantity", text))


def test_every_time_zone_of_ours_is_gos(judge: Judge):
    zones = sorted(names.time_zones())
    assert len(zones) > 400
    assert [zone for zone in zones if not judge.takes("zone", zone)] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host", "https://host"),
        ("HTTPS://Host:8443/base/", "https://Host:8443/base"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://10.0.0.1", "http://10.0.0.1"),
        ("https://xn--zrich-kva.example.", "https://xn--zrich-kva.example."),
    ],
)
def test_url(text, shown):
    assert names.url(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", "ftp://host", "https://", "https:///a", "https://host:0", "https://host:65536", "https://host:x"),
        *("https://host:", "https://[::1", "https://::1", "https://[fe80::1%25eth0]", "https://[::ffff:1.2.3.4]"),
        *(
            "https://256.0.0.1",
            "https://1.2.3",
            "https://-host",
            "https://ho st",
            "https://zürich.example",
            "https://h\n",
        ),
        *("https://me@host", "https://me:pw@host", "https://host?a=1", "https://host#a", "https://host?"),
    ],
)
def test_what_is_no_url_of_a_service(text):
    assert not takes(names.url, text)


def test_upper_case_does_not_hide_plain_http():
    with pytest.raises(BadSettings, match="must be https"):
        Settings.parse({"services": {"escrowUrl": "HTTP://host"}})


def test_nobody_is_shown_a_pattern():
    """An error is in words. What stands in the JSON Schema is for programs."""
    wrong = {
        "fly": {"regions": {"london": 1}, "app": "A", "volume": {"name": "-"}},
        "encryption": {"keyId": " ", "endpoint": "x"},
        "worker": {"env": {"=": "x"}, "image": "A:1"},
        "networkPolicy": {"dns": {"podLabels": {"-": "x"}}},
        "credentials": {"apiKeyKey": "a b"},
        "agents": [{"name": "-", "payee": " ", "schedule": "x"}],
    }
    with pytest.raises(BadSettings) as caught:
        Settings.parse(wrong)
    assert len(caught.value.problems) == 12
    assert not re.search(r"\\|\[[a-z]-|\^|\$", str(caught.value))
