"""Values that Kubernetes' own rules accept and refuse, for runs without a cluster.

Where the real thing is there, the tests ask it about each of them again.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """Examples of one rule."""

    accepted: tuple[str, ...]
    refused: tuple[str, ...]


SCHEDULE = Row(
    accepted=(
        *("0 * * * *", "*/5 1-6 * * 1-5", "30 4 1,15 * *", "0 0 * * SUN", "0 0 * * WED", "0 0 * JUL *", "0 0 ? * *"),
        *("0 0 * * 0", "0 0 * * 6", "0 6 */2 * MON", "0 6 13 * */2", "0 0 30 2 *", "0 0 31 2 *", "+5 0 * * *"),
        *("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"),
        *("@every 90m", "@every 1h30m", "@every 1.5h", "@every 0", "@every -1h", " 0  0 * * * ", "0 0 * * *\n"),
        "@every 2562047h",
        *("3/4 * * * *", "*/100 * * * *", "0 0 1-5/2 * *", ", * * * *", "5, * * * *", "*-5 * * * *", "?/1 * * * ?"),
    ),
    refused=(
        *("0 0 * * 7", "0 0 * * 1-7", "0 0 * * 0-7", "0 0 l * *", "0 0 * * 5l", "0 0 lw * *", "0 0 * * 1#2"),
        *("60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 * 13 *", "-1 * * * *", "5-1 * * * *"),
        *("*/0 * * * *", "1/2/3 * * * *", "1-2-3 * * * *", "0 0 * * MONDAY", "0 0 * * SUN-8", "a * * * *"),
        *("", " ", "* * * *", "0 0 * * * *", "@reboot", "@Hourly", "@hourly ", " @hourly", "@every", "@every 1d"),
        *("@every 2562048h", "@every 9223372036.9s", "@every 1h9223372036854775807ns"),
        *("@every  1h", "TZ=UTC 0 0 * * *", "CRON_TZ=UTC 0 0 * * *", "0 0 * * * TZ", "0x1 * * * *", "1_0 * * * *"),
    ),
)

QUANTITY = Row(
    accepted=(
        *("0", "1", "250m", "64Mi", "1.5Gi", "1e3", "1E3", "1E", "1Ei", "1e-3", "1e+3", "100u", "5n", "2k", "3M", "4G"),
        *("5T", "6P", "7Pi", ".5", "1.", "+1", "007", "0.5Gi", "1.0000000001", "9Ei", "12e6"),
    ),
    refused=(
        "",
        "-1",
        "64MB",
        "64mb",
        "1K",
        "1ki",
        "1 Gi",
        "1,5",
        "1e",
        "0x10",
        "1.5.5",
        "ten",
        "1_0",
        "NaN",
        "inf",
        "1Mi\n",
    ),
)

IMAGE = Row(
    accepted=(
        *("name:1.0", "team/agent:1.2", "host:5000/team/agent:v3", "localhost/a:1", "a__b:1", "a---b:1", "a.b:1"),
        *("[::1]:5000/team/agent:1", "[2001:db8::1]/agent:1", "HOST/agent:1", "1.2.3.4/agent:1", "index.docker.io/a:1"),
        *("a/" + "x" * 253 + ":1", "host.io:5000/" + "x" * 255 + ":1", "HOST/" + "x" * 255 + ":1"),
        *(
            "a:1@sha256:" + "a" * 64,
            "a:latest@sha256:" + "a" * 64,
            "a@sha512:" + "b" * 128,
            "a:_x-1.2",
            "a:" + "t" * 128,
        ),
    ),
    refused=(
        *(
            "Agent:1",
            "team//agent:1",
            "team/Agent:1",
            "/a:1",
            "a/:1",
            "a_:1",
            "a___b:1",
            "a..b:1",
            "-a:1",
            "a b:1",
        ),
        *("a:1\n", "a:", "a:-1", "a:" + "t" * 129, "a@sha256:" + "A" * 64, "a@sha256:" + "a" * 63, "a@md5:" + "a" * 32),
        *("[fe80::1%25eth0]/a:1", "host.io/A:1", "a:1:2", "", "é:1", "x" * 256 + ":1"),
        *("a/" + "x" * 254 + ":1", "host.io:5000/" + "x" * 256 + "@sha256:" + "a" * 64),
    ),
)

VARIABLE = Row(
    accepted=("MY_NAME", "_A", "1X", "a.b", "a-b", "MY NAME", "a/b", "~", "..", " ", "A" * 300),
    refused=("", "A=B", "=", "É", "a\n", "a\tb", "\x7f"),
)

DATA_KEY = Row(
    accepted=("api-key", "API_KEY", "a.b", ".a", "-", "_", "k" * 253),
    refused=("", ".", "..", "..a", "a b", "a/b", "k" * 254, "a\n", "é"),
)

LABEL_KEY = Row(
    accepted=("team", "a.b", "a_b", "A-1", "example.com/team", "a/b", "k" * 63, "d" * 253 + "/k"),
    refused=("", "-a", "a-", "a b", "/a", "a/", "a/b/c", "k" * 64, "Example.com/a", "d" * 254 + "/k", "a\n", "é"),
)

LABEL_VALUE = Row(
    accepted=("", "a", "A.b_c-1", "1", "v" * 63),
    refused=("-a", "a-", ".a", "a b", "a/b", "v" * 64, "a\n", "é"),
)

DNS_LABEL = Row(
    accepted=("a", "a-b", "1a", "a1", "n" * 63),
    refused=("", "A", "a_b", "a.b", "-a", "a-", "n" * 64, "a\n", "é"),
)

DNS_NAME = Row(
    accepted=("a", "a.b", "my-secret", "1.2", "n" * 253, "a" * 100 + ".b"),
    refused=("", "A", "a_b", "a..b", ".a", "a.", "-a", "a-", "a.-b", "n" * 254, "a\n"),
)

CIDR = Row(
    accepted=(
        "10.0.0.0/8",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.1/32",
        "2001:db8::/32",
        "2001:DB8::/32",
        "fc00::/7",
        "64:ff9b::1.2.3.0/120",
    ),
    refused=(
        *("10.0.0.1/8", "10.0.0.0", "10.0.0.0/255.0.0.0", "10.0.0.0/08", "010.0.0.0/8", "10.0.0.0/33", "::/129"),
        *(
            "::ffff:10.0.0.0/104",
            "fe80::%eth0/64",
            "10.0.0/8",
            "a/8",
            "",
            "10.0.0.0/8\n",
            " 10.0.0.0/8",
            "2001:db8::1/32",
        ),
    ),
)

ZONE = Row(
    accepted=(
        "Etc/UTC",
        "UTC",
        "Europe/Berlin",
        "America/Argentina/Buenos_Aires",
        "Etc/GMT+1",
        "GMT",
        "EST5EDT",
        "Asia/Kathmandu",
    ),
    refused=(
        "",
        "Local",
        "local",
        "Mars/Base",
        "../../etc/passwd",
        "Europe",
        "/Europe/Berlin",
        "Europe//Berlin",
        "UTC\n",
        "GMT+1",
    ),
)

PORT = Row(accepted=("1", "443", "65535"), refused=("0", "-1", "65536"))
