"""openapi.json held against the server: every path, method and status it names is tried, every answer is one that it describes."""
import re

import jsonschema
import pytest

import gatehttpd
from groups import group, route
from sample import REFUSED, ask, load_sample, location

pytestmark = pytest.mark.needs("gate_status", "gate_upstream")

# paths that belong to modules which may not be built
OWNERS = {"/api/v1/cache/purge": "gate_cache", "/api/v1/bans": "gate_access"}
MEMBERS = "api/v1/groups/app/members"


@pytest.fixture(scope="module")
def server(module_lab):
    members = module_lab.upstreams(2)
    cache = '<IfModule gate_cache_module>\nGateCacheSize 16M\n<Location "/cached">\nGateCache on\n</Location>\n</IfModule>\n'
    httpd = module_lab.httpd(conf=load_sample() + cache + group("app", members) + route(path="/app/") + location("GateAdmin on"))
    httpd.expect(REFUSED)
    return httpd


@pytest.fixture(scope="module")
def api(server):
    return ask(server, "openapi.json").json()


def resolve(api, node):
    while "$ref" in node:
        target = api
        for word in node["$ref"].lstrip("#/").split("/"):
            target = target[word]
        node = target
    return node


def operation(api, path, method):
    """The description of a request's path, by its pattern."""
    for pattern, item in api["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), "/" + path.split("?")[0]):
            return item[method.lower()]
    raise AssertionError(f"{path} is not described")


def held(api, server, path, method="GET", **words):
    """Asks, and checks the answer against what is written of it."""
    answer = ask(server, path, method, **words)
    responses = operation(api, path, method)["responses"]
    assert str(answer.status) in responses, f"{method} {path}: {answer.status} is not described: {answer.body[:300]}"
    response = resolve(api, responses[str(answer.status)])
    if "content" not in response:
        assert answer.body == b""
        return answer
    kind = answer.header("Content-Type").split(";")[0]
    assert kind in response["content"], (method, path, kind)
    if kind.endswith("json"):
        schema = dict(response["content"][kind]["schema"], components=api["components"])
        jsonschema.Draft202012Validator(schema).validate(answer.json())
    for name, header in response.get("headers", {}).items():
        assert re.search(resolve(api, header)["schema"].get("pattern", "."), answer.header(name)), name
    return answer


def test_it_is_whole(api):
    text = str(api)
    for ref in re.findall(r"'\$ref': '([^']+)'", text):
        assert resolve(api, {"$ref": ref})
    for schema in api["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_what_is_read(api, server):
    for path in ("status.json", "events.json", "explain.json?url=/app/x", "explain.json?url=/", "explain.json?url=nonsense",
                 "api/v1/groups", MEMBERS, MEMBERS + "/m1", MEMBERS + "/nobody", "api/v1/groups/nobody/members", "metrics"):
        held(api, server, path)
    for path in ("status.json", "events.json", "explain.json?url=/"):
        assert held(api, server, path, host="evil.example").status == 403


def test_what_is_changed(api, server):
    new = {"url": "http://127.0.0.1:9", "id": "new", "weight": 3, "state": "drain", "backup": True, "connections": 5}
    jsonschema.validate(new, api["components"]["schemas"]["NewMember"])
    assert held(api, server, MEMBERS, "POST", json=new).status == 201
    one = MEMBERS + "/new"
    for code, words in ((409, {"json": new}), (400, {"json": {}}), (412, {"json": new, "headers": {"If-Match": '"x"'}}),
                        (415, {"body": "x"}), (403, {"json": new, "headers": {"Origin": "https://evil.example"}}),
                        (413, {"json": {"url": "x" * 70000}})):
        assert held(api, server, MEMBERS, "POST", **words).status == code
    assert held(api, server, "api/v1/groups/nobody/members", "POST", json=new).status == 404
    for code, words in ((200, {"json": {"state": "drain", "deadline_s": 600}}), (200, {"json": {"weight": 2}}), (400, {"json": {}}),
                        (412, {"json": {"weight": 2}, "headers": {"If-Match": '"x"'}}), (415, {"body": "x"}),
                        (200, {"body": '{"weight":4}', "headers": {"Content-Type": "application/merge-patch+json"}}),
                        (403, {"json": {"weight": 2}, "headers": {"Sec-Fetch-Site": "cross-site"}})):
        assert held(api, server, one, "PATCH", **words).status == code, words
    held(api, server, "status.json")
    held(api, server, "events.json")
    assert held(api, server, one, "DELETE", headers={"If-Match": '"x"'}).status == 412
    assert held(api, server, one, "DELETE").status == 204
    assert held(api, server, one, "DELETE").status == 404
    assert held(api, server, one, "PATCH", json={"weight": 2}).status == 404


def test_bodies_that_it_forbids_are_refused(api, server):
    """And those it allows are taken: schema and server agree on every one of these."""
    schemas = api["components"]["schemas"]
    new = [{"url": "http://127.0.0.1:9"}, {}, {"url": 1}, {"url": "http://127.0.0.1:9", "weight": 0}, {"url": "http://127.0.0.1:9", "weight": 1000},
           {"url": "http://127.0.0.1:9", "weight": 1001}, {"url": "http://127.0.0.1:9", "id": "-x"}, {"url": "http://127.0.0.1:9", "id": "x" * 64},
           {"url": "http://127.0.0.1:9", "id": "x" * 63}, {"url": "http://127.0.0.1:9", "state": "down"}, {"url": "http://127.0.0.1:9", "x": 1},
           {"url": "http://127.0.0.1:9", "backup": "yes"}, {"url": "http://127.0.0.1:9", "connections": -1}, []]
    for n, body in enumerate(new):
        good = jsonschema.Draft202012Validator(schemas["NewMember"]).is_valid(body)
        if good and "id" not in body:
            body = dict(body, id=f"n{n}")
        answer = ask(server, MEMBERS, "POST", json=body)
        assert (answer.status == 201) == good, (body, answer.body)
        if good:
            assert ask(server, f"{MEMBERS}/{body['id']}", "DELETE").status == 204
    patches = [{}, {"state": "up"}, {"state": "down"}, {"weight": 1}, {"weight": "1"}, {"url": "http://127.0.0.1:9"}, {"state": "drain", "deadline_s": 9999},
               {"deadline_s": 5}, {"state": "drain", "deadline_s": 0}, {"state": "drain", "deadline_s": 604801}, {"state": "up", "weight": 7}]
    for body in patches:
        good = jsonschema.Draft202012Validator(schemas["MemberPatch"]).is_valid(body)
        assert (ask(server, MEMBERS + "/m2", "PATCH", json=body).status == 200) == good, body


def test_methods_are_those_described(api, server):
    for pattern, item in api["paths"].items():
        if pattern in OWNERS and not gatehttpd.built(OWNERS[pattern]):
            continue
        path = pattern.strip("/").format(group="app", member="m1")
        described = {name.upper() for name in item if name in ("get", "post", "patch", "delete", "put")}
        answer = ask(server, path, "PUT", json={})
        assert answer.status == 405, pattern
        assert set(answer.header("Allow").split(", ")) - {"OPTIONS", "HEAD"} == described, pattern


def test_actions_of_modules_are_described(api, server):
    """Each action that a module of the suite registers has its path and method, and a POST its parameters."""
    for section in ask(server, "status.json").json()["sections"]:
        for action in section["actions"]:
            if section["name"] == "sample":
                continue
            item = api["paths"]["/api/v1/" + action["path"]][action["method"].lower()]
            schema = resolve(api, item.get("requestBody", {"content": {}})["content"].get("application/json", {"schema": {}})["schema"])
            if action["method"] == "POST" and "properties" in schema:
                assert set(schema["properties"]) == {p["name"] for p in action["params"]}
                assert set(schema.get("required", [])) == {p["name"] for p in action["params"] if p["required"]}


@pytest.mark.needs("gate_cache")
def test_purge(api, server):
    for code, body in ((200, {"all": True}), (200, {"url": "http://localhost/x"}), (200, {"prefix": ["http://localhost/"], "soft": True}),
                       (400, {"colour": 1})):
        assert held(api, server, "api/v1/cache/purge", "POST", json=body).status == code, body


@pytest.mark.needs("gate_access")
def test_bans(api, server):
    path = "api/v1/bans"
    assert held(api, server, path, "POST", json={"address": "192.0.2.7", "for": "10m", "why": "test"}).status == 200
    assert "192.0.2.7" in str(held(api, server, path).json()["bans"])
    assert held(api, server, path, "POST", json={"address": "nobody"}).status == 400
    assert held(api, server, path + "?address=192.0.2.7", "DELETE").status == 200
    assert "192.0.2.7" not in str(held(api, server, path).json())
    assert held(api, server, path + "?address=192.0.2.7", "DELETE").status == 404
    assert held(api, server, path, "DELETE").status == 400
