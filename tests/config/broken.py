"""Broken configurations as data: what is in the file, and the one message that must come of it."""

# ruff: noqa: E501 - a message is easier to read with few breaks
from __future__ import annotations

from dataclasses import dataclass

SECRET = "hunter2hunter2"
ENCODED = "hunter%32hunter%32"
"""The same, as a URL may have it."""

GOOD = """\
connections:
  cache:
    type: redis
    url: redis://localhost:6379/0
"""


@dataclass(frozen=True)
class Broken:
    """One broken file. ``message`` is the whole of stderr; ``structural`` ones the JSON Schema must refuse too."""

    name: str
    content: str | bytes
    message: str
    structural: bool = False


def api(line: str) -> str:
    return f"api:\n  {line}\n"


def redis(*lines: str, url: str = "redis://localhost") -> str:
    """Return a file with one connection; the first of ``lines`` is line 5, and begins in column 5."""
    return "".join(
        f"{line}\n"
        for line in (
            "connections:",
            "  cache:",
            "    type: redis",
            f"    url: {url}",
            *(f"    {x}" for x in lines),
        )
    )


ENCODE = (
    "in a user name and a password write %40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, %25 for %"
)
WRITE_URL = "write redis://[user:password@]host:port/db"
DURATION = "write seconds (1.5) or text such as 500ms, 1m30s, 5m"
START = "write connections:, and below it a name with type: redis and url: redis://localhost:6379/0"
TAGS = "tags (words with '!') are not used in this file; remove it, or put the text in quotes"
FIT = "this fits no line above; check the indentation and the quotes"

FILE = [
    Broken("empty", "", f"tether.yaml: is empty; {START}"),
    Broken("only comments", "# connections:\n", f"tether.yaml: is empty; {START}"),
    Broken("only a line", "---\n", f"tether.yaml: is empty; {START}"),
    Broken(
        "not utf-8",
        b"connections:\n  caf\xe9: {}\n",
        "tether.yaml:2:6: is not UTF-8 here; save the file as UTF-8",
    ),
    Broken(
        "utf-16", "api: {}\n".encode("utf-16"), "tether.yaml:1:1: is not UTF-8 here; save the file as UTF-8"
    ),
    Broken(
        "too large",
        b"# " + b"x" * (1 << 20),
        "tether.yaml: is larger than 1024 KiB; is it the right file?",
    ),
    Broken(
        "nul", b"api:\n  host: \0\n", "tether.yaml:2:9: has a NUL byte here; is it a text file? remove it"
    ),
    Broken(
        "escape sequence",
        b"api:\n  host: \x1b[31m\n",
        "tether.yaml:2:9: has a control character here; is it a text file? remove it",
    ),
    Broken("tab", "connections:\n\tcache: {}\n", "tether.yaml:2:1: a tab in the indentation; use spaces"),
]

YAML = [
    Broken("open bracket", "api: [1, 2\n", "tether.yaml:2:1: a list in brackets that lacks a ',' or its ']'; "
           'if it is text, put it in quotes: "${NAME}" needs them there'),
    Broken("variable in braces", "api: {host: ${HOST}}\n", "tether.yaml:1:14: a mapping in braces that lacks a ',' or its '}'; "
           'if it is text, put it in quotes: "${NAME}" needs them there'),
    Broken("open quote", f'api:\n  host: "{SECRET}\n', "tether.yaml:2:9: a quote that is opened and never closed; close it"),
    Broken("second colon", f"api:\n  host: a: {SECRET}\n", "tether.yaml:2:10: a ':' where no key can be; "
           "if it is text, put it in quotes, and check the indentation"),
    Broken("indentation", "api:\n    port: 1\n  host: x\n", f"tether.yaml:3:3: {FIT}"),
    Broken("behind a quote", f"api:\n  host: 'x' {SECRET}\n", f"tether.yaml:2:13: {FIT}"),
    Broken("list and mapping", "- a\nb: 1\n", f"tether.yaml:2:1: {FIT}"),
    Broken("list on the line", "api: - b\n", "tether.yaml:1:6: a list's '-' cannot be here; begin it on a line of its own"),
    Broken("at sign", f"api:\n  host: @{SECRET}\n", "tether.yaml:2:9: no value begins with this character; "
           "if it is text, put it in quotes"),
    Broken("backslash", 'api:\n  host: "C:\\hosts"\n', "tether.yaml:2:13: a backslash that escapes nothing; "
           "in double quotes write \\\\, or use single quotes"),
    Broken("beyond unicode", 'api:\n  host: "\\UFFFFFFFF"\n', "tether.yaml:2:3: this is not valid YAML; "
           "check the quotes, the brackets and the indentation here and on the line above"),
    Broken("half a character", 'api:\n  host: "\\ud800"\n', "tether.yaml:2:9: half a character (\\ud800 to \\udfff); "
           "write the whole one as it is"),
    Broken("tag", f"api: !!python/object:os.{SECRET} {{}}\n", f"tether.yaml:1:6: {TAGS}"),
    Broken("own tag", f"api: !{SECRET} {{}}\n", f"tether.yaml:1:6: {TAGS}"),
    Broken("undefined alias", f"api: *{SECRET}\n", "tether.yaml:1:6: this alias (*) names no anchor (&) above it; "
           "check its name, or put the text in quotes"),
    Broken("recursive alias", f"api: &{SECRET} [*{SECRET}]\n", "tether.yaml:1:23: this alias (*) is used within what it names, "
           "and would never end; remove it"),
    Broken("two documents", f"{GOOD}---\n{GOOD}", "tether.yaml:5:1: a second document begins here; "
           "keep one per file, and remove the line '---'"),
    Broken("deep", "api: " + "[" * 200 + "\n", "tether.yaml:1:55: more than 50 levels within one another; this file needs five"),
    Broken("bomb", "a: &a0 [1, 1]\n" + "".join(f"b{n}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(30)),
           "tether.yaml:15:6: the file has more than 100000 values, with those behind aliases; make it smaller"),
    Broken("key that is a list", "[a, b]: 1\n", "tether.yaml:1:1: a key must be a word, not a list or a mapping; "
           "put text with brackets in quotes"),
]  # fmt: skip

KEYS = [
    Broken("duplicate key", redis(f"options: {{password: {SECRET}, password: {SECRET}x}}"), "tether.yaml:5:41: "
           "connections.cache.options.password: this key is there already, on line 5; remove one of the two"),
    Broken("no space behind a colon", redis(f"options: {{password:{SECRET}, client_name: x}}"), "tether.yaml:5:15: "
           "connections.cache.options.password…: redis-py has no option password…; did you mean password?"),
    Broken("no colon", redis(f"options: {{password {SECRET}}}"), "tether.yaml:5:15: connections.cache.options.password…: "
           "redis-py has no option password…; did you mean password?"),
    Broken("no space in a flow mapping", f"connections: {{a: {{type: redis, url:redis://:{SECRET}@h}}}}\n", "tether.yaml:1:32: "
           "connections.a.url…: unknown key; did you mean url?", structural=True),
    Broken("duplicate connection", GOOD + "  cache: {type: redis, url: redis://other}\n", "tether.yaml:5:3: "
           "connections.cache: this key is there already, on line 2; remove one of the two"),
    Broken("a list", "- a\n", f"tether.yaml:1:1: must be sections; {START}", structural=True),
    Broken("a word", f"{SECRET}\n", f"tether.yaml:1:1: must be sections; {START}", structural=True),
    Broken("unknown section", "conections: {}\n", "tether.yaml:1:1: conections: unknown key; did you mean connections?",
           structural=True),
    Broken("strange section", f"{GOOD}colour: {SECRET}\n", "tether.yaml:5:1: colour: unknown key; there are: api, connections",
           structural=True),
    Broken("section of later", f'{GOOD}gateway: {{tokens: {{"${{NOT_SET}}": {SECRET}}}}}\n', "tether.yaml:5:1: gateway: "
           "this section is not there yet; this version has: api, connections", structural=True),
    Broken("type of later", f'connections:\n  orders: {{type: mysql, url: "mysql://app:{SECRET}@${{NOT_SET}}/x"}}\n',
           "tether.yaml:2:18: connections.orders.type: mysql is not there yet; this version supervises: redis",
           structural=True),
    Broken("no such type", "connections:\n  a: {type: reddis, url: redis://h}\n", "tether.yaml:2:13: connections.a.type: "
           "'reddis' is no type; did you mean redis? this version supervises: redis", structural=True),
    Broken("no type", "connections:\n  a:\n    url: redis://h\n", "tether.yaml:2:3: connections.a.type: is missing; "
           "write type: redis", structural=True),
    Broken("type misspelt", "connections:\n  a:\n    typ: redis\n    url: redis://h\n", "tether.yaml:3:5: connections.a.typ: "
           "unknown key; did you mean type?", structural=True),
    Broken("no url", "connections:\n  a: {type: redis}\n", "tether.yaml:2:3: connections.a.url: is missing; "
           "write url: redis://localhost:6379/0", structural=True),
    Broken("url misspelt", f"connections:\n  a: {{type: redis, ulr: 'redis://:{SECRET}@h'}}\n", "tether.yaml:2:20: "
           "connections.a.ulr: unknown key; did you mean url?", structural=True),
    Broken("key misspelt", redis("helth_check_interval: 5s"), "tether.yaml:5:5: connections.cache.helth_check_interval: "
           "unknown key; did you mean health_check_interval?", structural=True),
    Broken("connection is a url", f"connections:\n  cache: redis://:{SECRET}@h\n", "tether.yaml:2:10: connections.cache: "
           "must be a mapping; write type: redis and url: redis://localhost:6379/0 below it", structural=True),
    Broken("connection is empty", "connections:\n  cache:\n", "tether.yaml:2:3: connections.cache: must be a mapping; "
           "write type: redis and url: redis://localhost:6379/0 below it", structural=True),
    Broken("connections is a list", "connections:\n  - cache\n", f"tether.yaml:2:3: connections: must be names; {START}",
           structural=True),
    Broken("name with a slash", "connections:\n  a/b: {type: redis, url: redis://h}\n", "tether.yaml:2:3: connections.a/b: "
           "is no name; use 1 to 64 letters, digits and _ - .", structural=True),
    Broken("a url for a name", f"connections:\n  redis://:{SECRET}@h: {{type: redis, url: redis://h}}\n", "tether.yaml:2:3: "
           "connections.redis…: is no name; use 1 to 64 letters, digits and _ - .", structural=True),
    Broken("name that leads up", "connections:\n  ..: {type: redis, url: redis://h}\n", "tether.yaml:2:3: connections...: "
           "is no name; use 1 to 64 letters, digits and _ - .", structural=True),
    Broken("merge of a word", redis("<<: word"), "tether.yaml:5:5: connections.cache.<<: '<<' takes in another mapping; "
           "write <<: *name, where &name stands before a mapping"),
    Broken("no such strategy", redis("retry: {strategy: expnential}"), "tether.yaml:5:23: connections.cache.retry.strategy: "
           "'expnential' is no strategy; did you mean exponential? there are: exponential, linear, fixed, jittered, "
           "full_jitter, decorrelated, grpc", structural=True),
    Broken("key of another strategy", redis("retry: {strategy: linear, factor: 2}"), "tether.yaml:5:31: "
           "connections.cache.retry.factor: strategy linear has no such key; it has: base", structural=True),
    Broken("strategy without keys", redis("retry: {strategy: grpc, base: 1s}"), "tether.yaml:5:29: "
           "connections.cache.retry.base: strategy grpc has no such key; it has: no further key", structural=True),
    Broken("retry is a number", redis("retry: 5"), "tether.yaml:5:12: connections.cache.retry: must be a mapping; "
           "write {strategy: exponential, base: 1s, maximum: 60s}", structural=True),
]  # fmt: skip

VALUES = [
    Broken("yes", redis("required: yes"), "tether.yaml:5:15: connections.cache.required: must be true or false, not 'yes'; "
           "write true or false, without quotes", structural=True),
    Broken("one for true", redis("required: 1"), "tether.yaml:5:15: connections.cache.required: must be true or false, not 1; "
           "write true or false, without quotes", structural=True),
    Broken("true for a port", api("port: true"), "tether.yaml:2:9: api.port: must be a whole number from 1 to 65535, not true; "
           "write one such as 8321", structural=True),
    Broken("port too high", api("port: 65536"), "tether.yaml:2:9: api.port: must be a whole number from 1 to 65535, not 65536; "
           "write one such as 8321", structural=True),
    Broken("empty port", api("port:"), "tether.yaml:2:3: api.port: must be a whole number from 1 to 65535, not empty; "
           "write one such as 8321", structural=True),
    Broken("half a retry", redis("max_retries: 2.5"), "tether.yaml:5:18: connections.cache.max_retries: must be a whole number "
           "of at least 0, or null for no limit, not 2.5; write one such as 3", structural=True),
    Broken("negative retries", redis("max_retries: -1"), "tether.yaml:5:18: connections.cache.max_retries: must be a whole number "
           "of at least 0, or null for no limit, not -1; write one such as 3", structural=True),
    Broken("no threshold", redis("failure_threshold: 0"), "tether.yaml:5:24: connections.cache.failure_threshold: must be a whole "
           "number of at least 1, not 0; write one such as 3", structural=True),
    Broken("no duration", redis("connect_timeout: 5 sec"), "tether.yaml:5:22: connections.cache.connect_timeout: must be a "
           f"duration longer than zero, not '5 sec'; {DURATION}", structural=True),
    Broken("zero", redis("health_check_interval: 0s"), "tether.yaml:5:28: connections.cache.health_check_interval: must be a "
           f"duration longer than zero, not '0s'; {DURATION}"),
    Broken("negative", redis("stable_after: -1"), "tether.yaml:5:19: connections.cache.stable_after: must be a "
           f"duration, not -1; {DURATION}", structural=True),
    Broken("true for a duration", redis("stable_after: true"), "tether.yaml:5:19: connections.cache.stable_after: must be a "
           f"duration, not true; {DURATION}", structural=True),
    Broken("endless", redis("stable_after: .inf"), "tether.yaml:5:19: connections.cache.stable_after: must be a "
           f"duration, not .inf; {DURATION}", structural=True),
    Broken("centuries", redis("stable_after: 99999d"), "tether.yaml:5:19: connections.cache.stable_after: must be at most 1e+09 "
           "seconds, not '99999d'; write a shorter duration, such as 24h"),
    Broken("factor", redis("retry: {factor: 0.5}"), "tether.yaml:5:21: connections.cache.retry.factor: must be a number from 1 to "
           "1e+09, not 0.5; 2 doubles each delay", structural=True),
    Broken("jitter", redis("retry: {jitter: 10}"), "tether.yaml:5:21: connections.cache.retry.jitter: must be a fraction from 0 "
           "to 1, not 10; 0.1 is ±10 %", structural=True),
    Broken("many digits", redis(f"failure_threshold: {'9' * 5000}"), "tether.yaml:5:24: connections.cache.failure_threshold: must "
           f"be a whole number of at least 1, not '{'9' * 39}…'; write one such as 3"),
    Broken("a long value", redis(f"required: {'x' * 200}"), "tether.yaml:5:15: connections.cache.required: must be true or false, "
           f"not '{'x' * 39}…'; write true or false, without quotes", structural=True),
    Broken("a number for a host", api("host: 0"), "tether.yaml:2:9: api.host: must be text, not 0; write a host name or an "
           "address such as 127.0.0.1, in quotes", structural=True),
    Broken("host with a port", api("host: 127.0.0.1:8321/x"), "tether.yaml:2:9: api.host: must be a host name or an address, not "
           "'127.0.0.1:8321/x'; write it without scheme, port and brackets: 127.0.0.1, ::1 or 0.0.0.0", structural=True),
    Broken("a key that slips into a value", api(f"host: 127.0.0.1\n    operate_token {SECRET}"), "tether.yaml:2:9: api.host: must be "
           "a host name or an address, not text on several lines; write it without scheme, port and brackets: 127.0.0.1, ::1 "
           "or 0.0.0.0", structural=True),
    Broken("base path", api("base_path: tether/"), "tether.yaml:2:14: api.base_path: must be empty or a path such as /tether, not "
           "'tether/'; begin it with '/', and end it without", structural=True),
    Broken("a number for a token", api("read_token: 1234567890"), "tether.yaml:2:15: api.read_token: must be text; "
           "put it in quotes", structural=True),
    Broken("short token", api("read_token: hunter2"), "tether.yaml:2:15: api.read_token: is too short; use at least 8 characters, "
           "such as the output of: openssl rand -hex 16", structural=True),
    Broken("token with a space", api(f"read_token: {SECRET} {SECRET}"), "tether.yaml:2:15: api.read_token: has characters that no "
           "HTTP header can carry; use letters, digits and - . _ ~ without spaces", structural=True),
    Broken("a word for hosts", api("trusted_hosts: example.com"), "tether.yaml:2:18: api.trusted_hosts: must be a list of host "
           "names, not 'example.com'; write [tether.example.com], without scheme and port", structural=True),
    Broken("hosts with a number", api("trusted_hosts: [example.com, 5]"), "tether.yaml:2:32: api.trusted_hosts[1]: must be a host "
           "name, not 5; write [tether.example.com], without scheme and port", structural=True),
    Broken("a word for names", redis("depends_on: cache"), "tether.yaml:5:17: connections.cache.depends_on: must be a list of "
           "names, not 'cache'; write [cache, sessions]", structural=True),
    Broken("options is a list", redis(f"options: [{SECRET}]"), "tether.yaml:5:14: connections.cache.options: must be a mapping; "
           "write {client_name: tether}, the driver's own keyword arguments", structural=True),
]  # fmt: skip

URLS = [
    Broken("a number for a url", redis(url="123"), f"tether.yaml:4:10: connections.cache.url: must be text; {WRITE_URL}",
           structural=True),
    Broken("scheme", redis(url=f"http://:{SECRET}@h"), "tether.yaml:4:10: connections.cache.url: must begin with redis://, "
           "rediss:// (TLS) or unix:// (a socket's path)", structural=True),
    Broken("a slash in the password", redis(url=f"redis://:{SECRET}/x@h"), "tether.yaml:4:10: connections.cache.url: has no host "
           f"and port that can be read; {WRITE_URL}; {ENCODE}"),
    Broken("a hash in the password", redis(url=f"redis://:{SECRET}#x@h:6379"), "tether.yaml:4:10: connections.cache.url: has no "
           f"host and port that can be read; {WRITE_URL}; {ENCODE}"),
    Broken("a password like a port", redis(url="redis://h:1402371402/0"), "tether.yaml:4:10: connections.cache.url: has no host "
           f"and port that can be read; {WRITE_URL}; {ENCODE}"),
    Broken("white space", redis(url=f"'redis://:{SECRET} @h'"), "tether.yaml:4:10: connections.cache.url: has white space or a "
           f"character that no URL has; {WRITE_URL}, and %20 for a space", structural=True),
    Broken("no host", redis(url=f"redis://:{ENCODED}@"), "tether.yaml:4:10: connections.cache.url: has no host, or one with "
           f"characters that no host has; {WRITE_URL}; {ENCODE}"),
    Broken("port zero", redis(url=f"redis://:{ENCODED}@h:0"), "tether.yaml:4:10: connections.cache.url: has port 0; "
           "write one from 1 to 65535"),
    Broken("no number", redis(url=f"redis://h/{SECRET}"), "tether.yaml:4:10: connections.cache.url: has something else than a "
           f"database's number after the host; {WRITE_URL}; {ENCODE}"),
    Broken("number in the query", redis(url=f"redis://:{SECRET}@h?db=x"), "tether.yaml:4:10: connections.cache.url: has a 'db=' "
           "that is not a whole number from 0 to 1000000000"),
    Broken("no socket", redis(url=f"unix://:{SECRET}@run/redis.sock"), "tether.yaml:4:10: connections.cache.url: names no socket; "
           "write unix:///path/to/redis.sock?db=0 with three slashes"),
    Broken("strange query", redis(url=f"redis://:{SECRET}@h?colour={SECRET}"), "tether.yaml:4:10: connections.cache.url: redis-py "
           "refuses it; are the arguments behind its '?' those of redis-py's client?"),
]  # fmt: skip

VARIABLES = [
    Broken("unset", api("host: ${NOT_SET}"), "tether.yaml:2:9: api.host: the environment variable NOT_SET is not set; "
           "set it, or give a default: ${NOT_SET:-…}"),
    Broken("unset, in a url", redis(url=f"redis://:{SECRET}@${{NOT_SET}}"), "tether.yaml:4:10: connections.cache.url: "
           "the environment variable NOT_SET is not set; set it, or give a default: ${NOT_SET:-…}"),
    Broken("unset, in a key", "connections:\n  ${NOT_SET}: {type: redis, url: redis://h}\n", "tether.yaml:2:3: "
           "connections.${NOT_SET}: the environment variable NOT_SET is not set; set it, or give a default: ${NOT_SET:-…}"),
    Broken("never closed", api(f"read_token: ${{{SECRET}"), "tether.yaml:2:15: api.read_token: a '${' that is never closed; "
           "write ${NAME}, ${NAME:-default} or ${file:PATH}; and $$ for a '$'"),
    Broken("no name", api(f"read_token: ${{{SECRET}-{SECRET}}}"), "tether.yaml:2:15: api.read_token: '${…}' with something else "
           "than a name in it; write ${NAME}, ${NAME:-default} or ${file:PATH}; and $$ for a '$'"),
    Broken("one in another", api(f"read_token: ${{NOT_SET:-${{{SECRET}}}}}"), "tether.yaml:2:15: api.read_token: a '${' within "
           "another; write the inner one's text, or set the variable"),
    Broken("no file", api("operate_token: ${file:secrets/none}"), "tether.yaml:2:18: api.operate_token: the file secrets/none: "
           "there is no such file; check the path"),
    Broken("a folder", api("operate_token: ${file:secrets}"), "tether.yaml:2:18: api.operate_token: the file secrets: "
           "is a directory; name the file in it"),
    Broken("a file too large", api("operate_token: ${file:secrets/large}"), "tether.yaml:2:18: api.operate_token: the file "
           "secrets/large: is larger than 64 KiB; is it the right file?"),
    Broken("a file that is no text", api("operate_token: ${file:secrets/latin}"), "tether.yaml:2:18: api.operate_token: the file "
           "secrets/latin (line 2): is not UTF-8 here; save the file as UTF-8"),
    Broken("a variable's value", api("port: ${PLANTED:-8321}"), "tether.yaml:2:9: api.port: must be a whole number from 1 to "
           "65535, not '${PLANTED}'; write one such as 8321"),
    Broken("a default", api(f"port: ${{NOT_SET:-{SECRET}}}"), "tether.yaml:2:9: api.port: must be a whole number from 1 to "
           "65535, not '${NOT_SET}'; write one such as 8321"),
    Broken("a file's value", redis("required: ${file:secrets/planted}"), "tether.yaml:5:15: connections.cache.required: must be "
           "true or false, not '${file:secrets/planted}'; write true or false, without quotes"),
    Broken("a variable as a key", redis('"${PLANTED}": 1'), "tether.yaml:5:5: connections.cache.${PLANTED}: unknown key; there "
           "are: type, url, health_check, health_check_interval, health_check_timeout, failure_threshold, connect_timeout, "
           "stable_after, max_retries, retry, required, depends_on, options"),
    Broken("a variable for a type", "connections:\n  a: {type: '${PLANTED}', url: redis://h}\n", "tether.yaml:2:13: connections.a."
           "type: '${PLANTED}' is no type; this version supervises: redis"),
    Broken("a variable for a strategy", redis("retry: {strategy: '${PLANTED}'}"), "tether.yaml:5:23: connections.cache.retry."
           "strategy: '${PLANTED}' is no strategy; there are: exponential, linear, fixed, jittered, full_jitter, "
           "decorrelated, grpc"),
    Broken("a default in a key", redis(f'"${{NOT_SET:-{SECRET}}}": 1').replace("redis://localhost", "redis://h"), "tether.yaml:5:5: "
           "connections.cache.${NOT_SET}: unknown key; there are: type, url, health_check, health_check_interval, "
           "health_check_timeout, failure_threshold, connect_timeout, stable_after, max_retries, retry, required, depends_on, "
           "options"),
    Broken("a url from a variable", redis(url="http://:${PLANTED}@h"), "tether.yaml:4:10: connections.cache.url: must begin with "
           "redis://, rediss:// (TLS) or unix:// (a socket's path)"),
]  # fmt: skip

REFERENCES = [
    Broken("no such connection", GOOD.replace("cache", "cache1") + "    depends_on: [cach]\n"
           "  cache: {type: redis, url: redis://h}\n", "tether.yaml:5:18: connections.cache1.depends_on[0]: there is no such "
           "connection; did you mean cache?"),
    Broken("itself", redis("depends_on: [cache]"), "tether.yaml:5:18: connections.cache.depends_on[0]: a connection cannot depend "
           "on itself; remove it"),
    Broken("circle", "connections:\n" + "".join(f"  {a}: {{type: redis, url: redis://h, depends_on: [{b}]}}\n"
           for a, b in ("ab", "bc", "ca")), "tether.yaml:2:48: connections.a.depends_on: runs in a circle, a → b → c → a; "
           "remove one of them"),
    Broken("open to others", api("host: 0.0.0.0"), "tether.yaml:2:9: api.host: others can reach this address, and there is no "
           "token; set api.operate_token, or use 127.0.0.1"),
    Broken("one token for two", api(f"read_token: {SECRET}\n  operate_token: {SECRET}"), "tether.yaml:3:18: api.operate_token: is "
           "the same as read_token, so that every reader could operate; use another"),
    Broken("decorrelated", redis("retry: {strategy: decorrelated, base: 2m}"), "tether.yaml:5:5: connections.cache.retry.maximum: "
           "is shorter than base (2m); make it at least as long"),
]  # fmt: skip

DRIVERS = [
    Broken("option misspelt", redis(f"options: {{pasword: {SECRET}}}"), "tether.yaml:5:15: connections.cache.options.pasword: "
           "redis-py has no option pasword; did you mean password?"),
    Broken("option unknown", redis(f"options: {{colour: {SECRET}}}"), "tether.yaml:5:15: "
           "connections.cache.options.colour: redis-py has no option colour; "
           "see the arguments of redis.asyncio.Redis.from_url"),
    Broken("option of ours", redis("options: {retry: 3}"), "tether.yaml:5:15: connections.cache.options.retry: cannot be set here: "
           "tether repeats by itself; set max_retries and retry of the connection"),
    Broken("option refused", redis(f"options: {{socket_timeout: {SECRET}}}"), "tether.yaml:5:15: "
           "connections.cache.options.socket_timeout: redis-py refuses this value; see redis.asyncio.Redis.from_url"),
]  # fmt: skip

BROKEN = [*FILE, *YAML, *KEYS, *VALUES, *URLS, *VARIABLES, *REFERENCES, *DRIVERS]
