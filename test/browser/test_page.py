"""The status page in a browser: what it shows, without reload, and what can be done with it."""
import os
import time

import pytest

from clients import get
from conftest import TOP
from groups import MEMBER_TROUBLE, group, route
from sample import EVIL, EVIL_GROUP, NO_HEALTH, ask, load_sample, location, member_of

pytestmark = pytest.mark.needs("gate_status", "gate_upstream")

SHOTS = os.path.join(TOP, "build", "browser", "shots")


def server(lab, *lines, more="", members=3, **words):
    members = lab.upstreams(members)
    httpd = lab.httpd(conf=load_sample() + group("app", members, *lines) + route(path="/app/") + location("GateAdmin on") + more,
                      **words)
    httpd.members = members
    return httpd


def row(member, state=None):
    return f'tr[data-member="{member}"]' + (f'[data-state="{state}"]' if state else "")


def opened(browser, httpd, **words):
    browser.open(url=f"{httpd.url}/gate-status/", **words)
    browser.wait(selector="#live[data-live=on]")


def expect_refusals(browser, *codes):
    """A browser puts each answer of 400 and more on its console by itself: these, and nothing else."""
    trouble = browser.trouble()
    assert len(trouble) == len(codes) and all(code in one for code, one in zip(codes, trouble)), trouble
    browser.open(url="about:blank")


def shot(browser, name, whole=True):
    os.makedirs(SHOTS, exist_ok=True)
    browser.shot(path=os.path.join(SHOTS, name + ".png"), whole=whole)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_members_appear(lab, browser, scheme):
    httpd = server(lab)
    opened(browser, httpd, scheme=scheme)
    for n in range(20):
        get(httpd, "/app/x")
    for member in httpd.members:
        browser.wait(selector=row(member.name))
        assert member.url in browser.text(selector=row(member.name))
    browser.run(script="window.still_here = true")
    ask(httpd, "api/v1/groups/app/members", "POST", json={"url": "http://127.0.0.1:9", "id": "later"})
    browser.wait(selector=row("later"), timeout=3000)
    ask(httpd, "api/v1/groups/app/members/later", "DELETE")
    browser.wait(selector=row("later"), state="detached", timeout=3000)
    assert browser.run(script="window.still_here") is True
    assert all(url.startswith(httpd.url + "/gate-status/") for url in browser.asked())
    shot(browser, scheme)


def test_a_verdict_turns_it_red_without_reload(lab, browser):
    """By the verdict of a check, however it came: within 3 s of being set."""
    httpd = server(lab, ours=NO_HEALTH)
    opened(browser, httpd)
    evil = '[data-state="down"]'
    browser.wait(selector=evil)
    colour = browser.run(script="getComputedStyle(document.querySelector('.pill[data-state=down]')).color")
    assert colour == browser.run(script="""(() => { const e = document.createElement('i'); e.style.color = 'var(--down)';
        document.body.append(e); const c = getComputedStyle(e).color; e.remove(); return c; })()""")
    red, green, blue = (int(x) for x in colour[4:-1].split(","))
    assert red > 2 * green and red > 2 * blue


@pytest.mark.needs("gate_health")
def test_a_killed_member_turns_red_within_three_seconds(lab, browser):
    httpd = server(lab, "GateHealthCheck GET / interval=250ms timeout=200ms fall=2 rise=1")
    httpd.expect(*MEMBER_TROUBLE, r"GATE05\d\d", r"GATE06\d\d")
    opened(browser, httpd)
    browser.wait(selector=row("m2", "up"))
    browser.run(script="window.still_here = true")
    httpd.members[1].kill9()
    start = time.monotonic()
    browser.wait(selector=row("m2", "down"), timeout=5000)
    assert time.monotonic() - start < 3 and browser.run(script="window.still_here") is True
    shot(browser, "killed")
    httpd.members[1].start()
    browser.wait(selector=row("m2", "up"), timeout=5000)


def test_draining_by_a_click_works_and_shows_in_the_api(lab, browser):
    httpd = server(lab)
    opened(browser, httpd)
    browser.click(selector=row("m1") + " button")
    shot(browser, "details", whole=False)
    browser.click(selector="dialog .foot >> text=Drain")
    assert "Drain m1?" in browser.text(selector="dialog h2")
    assert member_of(httpd, "app", "m1")["state"] != "drain"  # nothing is sent before it was confirmed
    shot(browser, "confirm", whole=False)
    browser.click(selector="dialog button[type=submit]")
    browser.wait(selector=row("m1", "drain"), timeout=3000)
    assert "draining" in browser.text(selector="#toasts")
    assert member_of(httpd, "app", "m1")["state"] == "drain"
    event = ask(httpd, "events.json").json()["events"][0]
    assert (event["to"], event["member"], event["who"]) == ("drain", "m1", "127.0.0.1")
    browser.click(selector=row("m1") + " button")
    browser.click(selector="dialog .foot >> text=Enable")
    browser.click(selector="dialog button[type=submit]")
    browser.wait(selector=f'{row("m1", "up")}, {row("m1", "unknown")}', timeout=3000)


def test_every_action_of_a_member(lab, browser):
    httpd = server(lab)
    opened(browser, httpd)
    browser.click(selector="text=Add member >> nth=0")
    browser.fill(selector="dialog input[name=url]", text="nonsense")
    browser.click(selector="dialog button[type=submit]")
    browser.wait(selector="dialog .wrong")
    assert "url: 'nonsense'" in browser.text(selector="dialog .wrong")
    browser.fill(selector="dialog input[name=url]", text="http://127.0.0.1:9")
    browser.fill(selector="dialog input[name=id]", text="new")
    browser.click(selector="dialog button[type=submit]")
    browser.wait(selector=row("new"), timeout=3000)
    browser.click(selector=row("new") + " button")
    browser.click(selector="dialog .foot >> text=Weight")
    browser.fill(selector="dialog input[name=weight]", text="7")
    browser.click(selector="dialog button[type=submit]")
    browser.wait(selector="dialog", state="hidden")
    assert member_of(httpd, "app", "new")["weight"] == 7
    browser.click(selector=row("new") + " button")
    browser.click(selector="dialog .foot >> text=Disable")
    browser.click(selector="dialog button[type=submit]")
    browser.wait(selector=row("new", "disabled"), timeout=3000)
    browser.click(selector=row("new") + " button")
    browser.click(selector="dialog .foot >> text=Remove")
    browser.click(selector="dialog button[type=submit]")
    browser.wait(selector=row("new"), state="detached", timeout=3000)
    assert member_of(httpd, "app", "new") is None
    expect_refusals(browser, "400")


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(lab, browser):
    httpd = server(lab)
    opened(browser, httpd)
    browser.click(selector=row("m1") + " button")
    browser.click(selector="dialog .foot >> text=Drain")
    ask(httpd, "api/v1/groups/app/members/m1", "PATCH", json={"weight": 9})
    browser.click(selector="dialog button[type=submit]")
    browser.wait(selector="dialog .wrong")
    assert "meanwhile" in browser.text(selector="dialog .wrong")
    assert member_of(httpd, "app", "m1")["state"] != "drain"
    expect_refusals(browser, "412")


def test_actions_of_a_section(lab, browser):
    httpd = server(lab)
    opened(browser, httpd)
    browser.click(selector="[data-section=sample] >> text=Add things")
    browser.fill(selector="dialog input[name=count]", text="5")
    browser.click(selector="dialog button[type=submit]")
    browser.wait(selector="#toasts >> text=now 8 things")
    browser.wait(selector="[data-section=sample] >> text=8")
    browser.click(selector="[data-section=sample] >> text=Drop things")
    browser.fill(selector="dialog input[name=kind]", text="all")
    browser.click(selector="dialog button[type=submit]")
    browser.wait(selector="#toasts >> text=no things left")


def test_hostile_names_are_text(lab, browser):
    httpd = server(lab)
    opened(browser, httpd)
    browser.wait(selector="#groups h2 >> text=" + EVIL_GROUP.split('"')[0])
    assert browser.run(script="document.querySelectorAll('main script').length") == 0
    for place in ("#groups", "#event-list", "#sections"):
        assert EVIL in browser.text(selector=place), place
    browser.run(script="""[...document.querySelectorAll('tr[data-member]')].find((r) => r.dataset.member.includes('script')).querySelector('button').click()""")
    assert EVIL in browser.text(selector="dialog")
    browser.press(key="Escape")
    browser.fill(selector="#explain-url", text="/" + EVIL)
    browser.press(key="Enter")
    browser.wait(selector=".way")


def test_explain(lab, browser):
    httpd = server(lab)
    opened(browser, httpd)
    browser.fill(selector="#explain-url", text="/app/x")
    browser.press(key="Enter")
    browser.wait(selector=".way")
    said = browser.text(selector=".way")
    assert "group app" in said and "gate://app/x" in said
    shot(browser, "explain")


def test_find_and_problems(lab, browser):
    httpd = server(lab, ours=NO_HEALTH)
    opened(browser, httpd)
    browser.press(key="/")
    assert browser.focused()[1] == "find"
    browser.fill(selector="#find", text="m2")
    browser.wait(selector=row("m1"), state="detached")
    assert browser.count(selector="#groups tbody tr") == 1
    browser.press(key="Escape")
    browser.wait(selector=row("m1"))
    browser.click(selector="#problems")
    browser.wait(selector=row("m1"), state="detached")
    assert browser.count(selector='#groups tbody tr[data-state="down"]') == 1


@pytest.mark.parametrize("width", [360, 768, 1360])
def test_no_width_makes_the_page_scroll_sideways(lab, browser, width):
    httpd = server(lab)
    opened(browser, httpd, width=width, height=780)
    browser.wait(selector=row("m1"))
    assert browser.run(script="document.documentElement.scrollWidth") <= width
    shot(browser, f"width-{width}")
    browser.click(selector=row("m1") + " button")
    box = browser.run(script="(() => { const b = document.querySelector('dialog').getBoundingClientRect(); return [b.left, b.right]; })()")
    assert box[0] >= 0 and box[1] <= width
    if width == 360:
        small = browser.run(script="""[...document.querySelectorAll('main button, .top button')].filter((b) => b.offsetParent)
            .filter((b) => b.getBoundingClientRect().height < 38).map((b) => b.textContent)""")
        assert small == []
        shot(browser, "phone-dialog", whole=False)


def test_by_keyboard_alone(lab, browser):
    httpd = server(lab)
    opened(browser, httpd)
    browser.wait(selector=row("m1"))
    browser.press(key="Tab")
    assert "Skip" in browser.focused()[2]
    browser.press(key="Enter")
    for _ in range(30):
        browser.press(key="Tab")
        if browser.focused()[2] == "Manage m1 of app":
            break
    assert browser.focused()[2] == "Manage m1 of app"
    outline = browser.run(script="getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.press(key="Enter")
    browser.wait(selector="dialog[open]")
    for _ in range(12):
        if browser.focused()[2] == "Drain":
            break
        browser.press(key="Tab")
    browser.press(key="Enter")
    assert browser.focused()[2] == "Drain" and "Drain m1?" in browser.text(selector="dialog h2")
    browser.press(key="Enter")
    browser.wait(selector=row("m1", "drain"), timeout=3000)
    browser.click(selector=row("m1") + " button")
    browser.press(key="Escape")
    browser.wait(selector="dialog", state="hidden")


def test_screen_reader_finds_its_way(lab, browser):
    httpd = server(lab)
    opened(browser, httpd)
    browser.wait(selector=row("m1"))
    nameless = browser.run(script="""[...document.querySelectorAll('button, input, select, a')].filter((e) => e.offsetParent)
        .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length && e.labels[0].textContent.trim())))
        .map((e) => e.outerHTML)""")
    assert nameless == []
    assert browser.run(script="document.documentElement.lang") == "en"
    levels = browser.run(script="[...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert browser.count(selector="#groups th[scope=col]") > 0 and browser.count(selector="#groups th[scope=row]") > 0
    # the state is a word, not only a colour
    assert browser.text(selector=row("m1") + " .pill") in ("up", "unknown")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(lab, browser, scheme):
    """WCAG 2.1, 1.4.3: 4.5 to 1 for all text."""
    httpd = server(lab)
    opened(browser, httpd, scheme=scheme)
    browser.wait(selector=row("m1"))
    weak = browser.run(script="""(() => {
        const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); if (c.startsWith('color(srgb')) return [m[0]*255, m[1]*255, m[2]*255, m[3] ?? 1];
                               return [m[0], m[1], m[2], m[3] ?? 1]; };
        const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
            .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
        const ground = (e) => { const layers = []; for (; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
            return layers.reverse().reduce((under, [r, g, b, a]) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a)), [255, 255, 255]); };
        const weak = new Set();
        for (const e of document.querySelectorAll('main *, .top *, footer *')) {
            if (!e.offsetParent || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
            const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
            const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            if (ratio < 4.5) weak.add(e.className + ' ' + e.tagName + ' ' + e.textContent.slice(0, 30) + ' ' + ratio.toFixed(2));
        }
        return [...weak];
    })()""")
    assert weak == []


def test_five_hundred_members(lab, browser):
    many = group("many", [f"http://127.0.0.1:{20000 + n} id=x{n}" for n in range(500)])
    httpd = server(lab, more=many)
    opened(browser, httpd)
    browser.wait(selector=row("x0"))
    browser.click(selector="text=Show all 500 members")
    browser.wait(selector=row("x499"), state="attached")
    longest = browser.run(script="""new Promise((done) => { let worst = 0, last = performance.now(), end = last + 5000;
        const look = () => { const now = performance.now(); worst = Math.max(worst, now - last); last = now; now < end ? setTimeout(look, 0) : done(worst); };
        look(); })""")
    print("longest pause of the page's thread with 500 members:", round(longest), "ms")
    browser.fill(selector="#find", text="x499")
    browser.wait(selector=row("x0"), state="detached")
    shot(browser, "many", whole=False)


def test_it_says_when_the_server_is_gone(lab, browser):
    httpd = server(lab)
    opened(browser, httpd)
    httpd.stop()
    browser.wait(selector="#live[data-live=lost]", timeout=12000)
    assert "no answer" in browser.text(selector="#live")
    httpd.start()
    browser.wait(selector="#live[data-live=on]", timeout=12000)
    assert all("ERR_CONNECTION_REFUSED" in one for one in browser.trouble())
    browser.open(url="about:blank")


def test_without_script_it_shows_the_tables(lab, browser):
    httpd = server(lab)
    browser.open(url=f"{httpd.url}/gate-status/", script=False)
    assert httpd.members[0].url in browser.text(selector="#groups")
    assert browser.count(selector="#groups script") == 0
    shot(browser, "no-script")
