/* view.js - model to page. Elements are made once and then only changed where they differ; all text goes in as text. */

import { bytes, cacheAsked, count, memberKey, micros, percent, rate, span } from "./model.js";

const SVG = "http://www.w3.org/2000/svg";
const ROWS_AT_FIRST = 200;

/* ---- elements ---- */

export function make(tag, props = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
        if (name === "class") element.className = value;
        else if (name === "on") Object.entries(value).forEach(([type, fn]) => element.addEventListener(type, fn));
        else if (value === true) element.setAttribute(name, "");
        else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
    return element;
}

function say(element, text) {
    if (element.textContent !== text) {
        element.textContent = text;
    }
}

function set(element, name, value) {
    if (element.getAttribute(name) !== value) {
        element.setAttribute(name, value);
    }
}

export const pill = (state) => make("span", { class: "pill", "data-state": state }, state);

/* A curve of .rate over time; the newest at the right edge. */
function spark(extra) {
    const svg = document.createElementNS(SVG, "svg");
    const area = document.createElementNS(SVG, "path"), curve = document.createElementNS(SVG, "path");
    svg.setAttribute("class", "spark " + (extra || ""));
    svg.setAttribute("viewBox", "0 0 100 30");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    area.setAttribute("class", "area");
    curve.setAttribute("class", "curve");
    svg.append(area, curve);
    svg.draw = (points) => {
        if (points.length < 2) {
            set(curve, "d", "");
            set(area, "d", "");
            return;
        }
        const last = points[points.length - 1].at, width = Math.max(60000, last - points[0].at);
        const top = Math.max(...points.map((p) => p.rate), 0.001);
        const thin = Math.ceil(points.length / 120);
        const line = points.filter((_, i) => (points.length - 1 - i) % thin === 0)
            .map((p) => (100 - (last - p.at) / width * 100).toFixed(1) + " " + (28 - p.rate / top * 25).toFixed(1));
        set(curve, "d", "M" + line.join("L"));
        set(area, "d", "M" + line[0].split(" ")[0] + " 30L" + line.join("L") + "L100 30Z");
    };
    return svg;
}

/* ---- summary ---- */

function tile(title, extra) {
    const figure = make("p", { class: "figure" }), beside = make("p", { class: "beside" }), graph = spark(extra);
    const element = make("div", { class: "card tile" }, graph, make("h2", {}, title), figure, beside);
    return {
        element,
        show(text, unit, words, grade, points) {
            const whole = text + "\n" + unit;
            if (figure.dataset.whole !== whole) {
                figure.dataset.whole = whole;
                figure.replaceChildren(text, ...(unit ? [make("small", {}, unit)] : []));
            }
            say(beside, words);
            set(element, "class", "card tile " + (grade || ""));
            graph.draw(points || []);
        },
    };
}

const tiles = {
    requests: tile("Requests"), errors: tile("Failed tries", "errors"), members: tile("Members"), inflight: tile("In flight"),
    cache: tile("Cache hits"), uptime: tile("Up for"),
};

function showSummary(model) {
    const s = model.status, all = model.track("all");
    const members = s.groups.flatMap((g) => g.members), usable = members.filter((m) => m.usable).length;
    const place = document.getElementById("summary");

    if (!place.firstChild) {
        place.append(tiles.requests.element, tiles.errors.element, tiles.members.element, tiles.inflight.element);
        if (s.cache) place.append(tiles.cache.element);
        place.append(tiles.uptime.element);
    }
    tiles.requests.show(rate(all.rate), "/s", count(members.reduce((n, m) => n + m.requests, 0)) + " in all", "", all.curve);
    tiles.errors.show(percent(all.errors), "", "of tries in the last minute",
                      all.errors > 0.05 ? "bad" : all.errors > 0 ? "some" : "", []);
    tiles.members.show(usable + "/" + members.length, "usable", s.groups.length + (s.groups.length === 1 ? " group" : " groups"),
                       usable < members.length ? (usable < members.length / 2 ? "bad" : "some") : "");
    tiles.inflight.show(count(members.reduce((n, m) => n + m.inflight, 0)), "", "exchanges with members");
    if (s.cache) {
        const asked = cacheAsked(s.cache);
        tiles.cache.show(asked ? percent((s.cache.hits || 0) / asked) : "\u2013", "", count(asked) + " look-ups", "",
                         model.track("cache").curve);
    }
    tiles.uptime.show(span(s.uptime_s), "", "configuration " + s.generation);
    say(document.getElementById("where"), s.host + " \u00b7 " + s.server.split(" ").slice(0, 1).join(" ") + " " + s.mpm);
}

/* ---- members ---- */

const COLUMNS = [["State", ""], ["Member", ""], ["Weight", "num"], ["In flight", "num"], ["Requests/s", "num"], ["Failed", "num"],
                 ["p50 / p90 / p99", "num"], ["Checks", ""], ["", ""]];

/* Only rows on screen get their curves drawn. */
const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
        entry.target.visible = entry.isIntersecting;
        if (entry.isIntersecting && entry.target.redraw) entry.target.redraw();
    }
}, { rootMargin: "200px" });

function memberRow(open) {
    const c = {
        pill: make("span", { class: "pill" }), since: make("small"), id: make("b"), url: make("span", { class: "url" }),
        why: make("span", { class: "why" }), chips: make("span"), weight: make("span"), inflight: make("span"),
        rate: make("span"), errors: make("span"), strip: make("span"), graph: spark(), quant: make("span"),
    };
    const button = make("button", { type: "button", class: "bare", on: { click: () => open() } });
    const row = make("tr", {},
        make("td", { class: "state" }, c.pill, c.since),
        make("th", { class: "who", scope: "row" }, c.id, c.chips, c.url, c.why),
        make("td", { class: "num", "data-label": "Weight" }, c.weight),
        make("td", { class: "num", "data-label": "In flight" }, c.inflight),
        make("td", { class: "num", "data-label": "Requests/s" }, make("div", { class: "rate" }, c.graph, c.rate)),
        make("td", { class: "num", "data-label": "Failed" }, c.errors),
        make("td", { class: "quant", "data-label": "p50 / p90 / p99" }, c.quant),
        make("td", { "data-label": "Checks" }, c.strip),
        make("td", { class: "act" }, button));
    row.parts = c;
    row.button = button;
    seen.observe(row);
    return row;
}

function showChecks(place, checks) {
    const key = checks.map((c) => (c.ok ? 1 : 0)).join("") + (checks.length ? checks[checks.length - 1].at : "");
    if (place.dataset.key === key) return;
    place.dataset.key = key;
    if (!checks.length) {
        place.replaceChildren(make("span", { class: "none" }, "\u2013"));
        return;
    }
    const good = checks.filter((c) => c.ok).length, last = checks[checks.length - 1];
    const words = good + " of the last " + checks.length + " checks were good" + (last.why ? "; last: " + last.why : "");
    place.replaceChildren(make("span", { class: "strip", role: "img", "aria-label": words, title: words },
                               ...checks.map((c) => make("i", { class: c.ok ? "" : "bad" }))));
}

/* What is not on screen is filled in when it comes there: but its state, which the page can be searched for. */
function fillRow(row, group, member, track, now, admin) {
    const c = row.parts;
    set(row, "data-state", member.state);
    set(row, "data-member", member.id);
    set(c.pill, "data-state", member.state);
    say(c.pill, member.state);
    say(c.id, member.id);
    row.redraw = () => fillCells(row, group, member, track, now, admin);
    if (row.visible || !row.filled) row.redraw();
}

function fillCells(row, group, member, track, now, admin) {
    const c = row.parts, l = member.latency_us, errors = track.errors;
    row.filled = true;
    say(c.since, member.since ? "for " + span((now - Date.parse(member.since)) / 1000) : "");
    say(c.url, member.url);
    say(c.why, member.why + (member.drain_until ? "; removed at " + new Date(member.drain_until).toLocaleTimeString() : ""));
    c.why.hidden = !member.why || member.state === "up";
    const chips = [member.backup ? "backup" : "", member.origin === "config" ? "" : member.origin].filter(Boolean);
    if (c.chips.dataset.key !== chips.join()) {
        c.chips.dataset.key = chips.join();
        c.chips.replaceChildren(...chips.map((text) => make("span", { class: "chip" }, text)));
    }
    say(c.weight, member.weight + (member.weight !== member.weight_configured ? " (" + member.weight_configured + ")" : ""));
    say(c.inflight, member.inflight + (member.connections ? " / " + member.connections : ""));
    say(c.rate, rate(track.rate));
    say(c.errors, percent(errors));
    set(c.errors, "class", errors > 0.01 ? "hot" : "");
    say(c.quant, l.count ? [l.p50, l.p90, l.p99].map(micros).join(" / ") : "\u2013");
    showChecks(c.strip, track.checks);
    say(row.button, admin ? "Manage" : "Details");
    set(row.button, "aria-label", (admin ? "Manage " : "Details of ") + member.id + " of " + group.name);
    c.graph.draw(track.curve);
}

/* ---- groups ---- */

function groupCard(actions) {
    const p = {
        title: make("h2"), chip: make("span", { class: "chip blue" }), facts: make("p", { class: "facts" }),
        usable: make("b"), total: make("span"), rps: make("b"), active: make("b"), errors: make("b"),
        add: make("button", { type: "button", class: "quiet", on: { click: () => actions.add() } }, "Add member"),
        bar: make("div", { class: "statebar", "aria-hidden": "true" }), body: make("tbody"),
        more: make("button", { type: "button", class: "more", hidden: true }),
    };
    p.facts.append(make("span", {}, p.usable, p.total), make("span", {}, p.rps, " requests/s"), make("span", {}, p.active, " in flight"),
                   make("span", {}, p.errors, " failed"));
    p.head = make("thead", {}, make("tr", {}, ...COLUMNS.map(([text, css]) => text ? make("th", { scope: "col", class: css }, text)
                                                                                   : make("td", {}, make("span", { class: "hidden" }, "Actions")))));
    p.card = make("section", { class: "card group" }, make("header", {}, p.title, p.chip, p.facts, make("div", { class: "right" }, p.add)),
                  p.bar, make("div", { class: "scroll" }, make("table", { class: "members" }, p.head, p.body)), p.more);
    p.rows = new Map();
    p.limit = ROWS_AT_FIRST;
    return p;
}

function showStateBar(bar, members) {
    const order = ["up", "unknown", "drain", "disabled", "gone", "ejected", "down"];
    const counts = order.map((state) => [state, members.filter((m) => m.state === state).length]).filter(([, n]) => n);
    while (bar.children.length > counts.length) bar.lastChild.remove();
    while (bar.children.length < counts.length) bar.append(make("i"));
    counts.forEach(([state, n], i) => {
        set(bar.children[i], "data-state", state);
        bar.children[i].style.flexGrow = n;
    });
}

export class View {
    constructor(model, actions) {
        this.model = model;
        this.actions = actions;
        this.groups = new Map();
        this.sections = new Map();
        this.find = "";
        this.problems = false;
    }

    wanted(group, member) {
        if (this.problems && member.usable && member.state === "up" && !(this.model.track(memberKey(group, member)).errors > 0.01)) {
            return false;
        }
        return !this.find || (group.name + "\n" + member.id + "\n" + member.url + "\n" + member.state).toLowerCase().includes(this.find);
    }

    show() {
        showSummary(this.model);
        this.showGroups();
        this.showSections();
        this.showEvents();
        document.getElementById("explain").hidden = false;
    }

    showGroups() {
        const place = document.getElementById("groups"), status = this.model.status;
        if (!this.began) {
            place.replaceChildren();
            this.began = true;
        }
        const names = new Set(status.groups.map((g) => g.name));
        for (const [name, p] of this.groups) {
            if (!names.has(name)) {
                p.card.remove();
                this.groups.delete(name);
            }
        }
        if (!this.nothing) {
            this.nothing = make("p", { class: "empty" });
            place.append(this.nothing);
        }
        let shown = 0;
        for (const group of status.groups) {
            let p = this.groups.get(group.name);
            if (!p) {
                p = groupCard({ add: () => this.actions.add(p.group) });
                p.more.addEventListener("click", () => {
                    p.limit = Infinity;
                    this.show();
                });
                this.groups.set(group.name, p);
                place.append(p.card);
            }
            shown += this.showGroup(p, group);
        }
        say(this.nothing, status.groups.length ? "No member fits what you are looking for." : "No groups are configured.");
        this.nothing.hidden = shown > 0 || (status.groups.length > 0 && !this.find && !this.problems);
    }

    showGroup(p, group) {
        const status = this.model.status, track = this.model.track("g " + group.name), now = Date.parse(status.now);
        const wanted = group.members.filter((m) => this.wanted(group, m));
        const members = wanted.slice(0, p.limit), keys = new Set(members.map((m) => m.id));

        p.group = group;
        say(p.title, group.name);
        say(p.chip, group.balance);
        p.chip.hidden = group.balance === "unknown";
        say(p.usable, String(group.usable));
        say(p.total, " of " + group.members.length + " usable");
        say(p.rps, rate(track.rate));
        say(p.active, String(group.active));
        say(p.errors, percent(track.errors));
        p.add.hidden = !status.admin.on;
        set(p.add, "aria-label", "Add a member to " + group.name);
        p.card.hidden = !wanted.length && Boolean(this.find || this.problems);
        showStateBar(p.bar, group.members);
        for (const [id, row] of p.rows) {
            if (!keys.has(id)) {
                seen.unobserve(row);
                row.remove();
                p.rows.delete(id);
            }
        }
        members.forEach((member, i) => {
            let row = p.rows.get(member.id);
            if (!row) {
                row = memberRow(() => this.actions.open(p.group, row.member));
                p.rows.set(member.id, row);
            }
            row.member = member;
            if (p.body.children[i] !== row) p.body.insertBefore(row, p.body.children[i] || null);
            fillRow(row, group, member, this.model.track(memberKey(group, member)), now, status.admin.on);
        });
        p.more.hidden = wanted.length <= p.limit;
        say(p.more, "Show all " + wanted.length + " members");
        return wanted.length;
    }

    /* ---- sections ---- */

    showSections() {
        const status = this.model.status, place = document.getElementById("sections");
        for (const section of status.sections || []) {
            const values = status[section.name];
            if ((!values || !Object.keys(values).length) && !section.actions.length) continue;
            let p = this.sections.get(section.name);
            if (!p) {
                p = { body: make("div") };
                p.card = make("section", { class: "card", "data-section": section.name },
                    make("header", {}, make("h2", {}, section.title),
                        make("div", { class: "buttons" }, ...(status.admin.on ? section.actions : []).map((action) =>
                            make("button", { type: "button", class: "quiet", on: { click: () => this.actions.run(section, action) } }, action.title)))),
                    p.body);
                this.sections.set(section.name, p);
                place.append(p.card);
            }
            const key = JSON.stringify(values);
            if (p.key !== key) {
                p.key = key;
                const fresh = make("div", {}, ...(section.name === "cache" ? cacheGauge(values) : []), ...contents(values || {}));
                p.card.classList.toggle("broad", wideTables(values || {}).length > 0);
                if (!p.body.firstChild || !update(p.body, fresh)) p.body.replaceChildren(...fresh.childNodes);
            }
        }
    }

    showEvents() {
        const list = document.getElementById("event-list"), newest = this.model.events.length ? this.model.events[0].number : 0;
        document.getElementById("events").hidden = false;
        if (list.dataset.newest === String(newest) && list.firstChild) return;
        list.dataset.newest = newest;
        list.replaceChildren(...(this.model.events.length ? this.model.events.map(eventItem)
                                                          : [make("li", { class: "muted" }, "Nothing has changed yet.")]));
    }
}

/* ---- any values ---- */

const words = (key) => {
    const text = key.replace(/_(us|ms|s|bytes)$/, "").replace(/_/g, " ");
    return text.charAt(0).toUpperCase() + text.slice(1);
};

const BYTES = new Set(["size", "used"]);

function valueText(key, value) {
    if (value === null || value === undefined || value === "") return "\u2013";
    if (value === true) return "yes";
    if (value === false) return "no";
    if (typeof value === "number") {
        if (key.endsWith("_us")) return micros(value);
        if (key.endsWith("_ms")) return micros(value * 1000);
        if (key.endsWith("_s")) return span(value);
        if (key.endsWith("_bytes") || BYTES.has(key)) return bytes(value);
        if (/(^|_)(pid|port|line)$/.test(key)) return String(value);
        return Number.isInteger(value) ? count(value) : value.toPrecision(3);
    }
    if (/^\d{4}-\d\d-\d\dT/.test(value)) return new Date(value).toLocaleString();
    return String(value);
}

/* Makes what is on the page say what `fresh` says, if it has the same shape; selection and focus stay. @return whether it had */
function update(old, fresh) {
    const same = (a, b) => a.nodeName === b.nodeName && a.childNodes.length === b.childNodes.length
        && [...a.childNodes].every((child, i) => same(child, b.childNodes[i]));
    const copy = (a, b) => {
        if (a.nodeType === Node.TEXT_NODE) {
            if (a.data !== b.data) a.data = b.data;
            return;
        }
        for (const name of ["aria-label", "class"]) {
            if (b.hasAttribute(name)) set(a, name, b.getAttribute(name));
        }
        if (b.style.width) a.style.width = b.style.width;
        a.childNodes.forEach((child, i) => copy(child, b.childNodes[i]));
    };
    if (!same(old, fresh)) return false;
    copy(old, fresh);
    return true;
}

/* A few values at a glance, the rest behind a fold. */
function digest(object) {
    const entries = Object.entries(object), first = entries.filter(([, v]) => v === null || typeof v !== "object").slice(0, 8);
    if (entries.length <= 10) return [pairs(object)];
    const rest = Object.fromEntries(entries.filter((one) => !first.includes(one)));
    return [pairs(Object.fromEntries(first)), make("details", {}, make("summary", {}, "All " + entries.length + " values"), pairs(rest))];
}

/* Lists that need the page's whole width. */
const wideTables = (object) => Object.entries(object).filter(([, v]) => Array.isArray(v) && v.length && Object.keys(v[0]).length > 3);

/* Small values side by side, wide tables below them; where there are none, a digest. */
function contents(object) {
    const tables = wideTables(object);
    if (!tables.length) return digest(object);
    const blocks = Object.entries(object).filter(([, v]) => v && typeof v === "object" && !Array.isArray(v) && Object.keys(v).length);
    const single = Object.entries(object).filter(([, v]) => v === null || typeof v !== "object");
    return [make("div", { class: "blocks" }, pairs(Object.fromEntries(single)),
                 ...blocks.map(([key, v]) => make("div", {}, make("h3", {}, words(key)), pairs(v)))),
            ...tables.flatMap(([key, v]) => [make("h3", {}, words(key)), table(v)])];
}

const PLANES = { express: "up", classic: "unknown" };

function cell(key, value) {
    if (key === "plane" && value in PLANES) return make("span", { class: "pill", "data-state": PLANES[value] }, value);
    return valueText(key, value);
}

function table(list) {
    const keys = [...new Set(list.flatMap((one) => Object.keys(one)))].slice(0, 6);
    return make("div", { class: "scroll" }, make("table", {},
        make("thead", {}, make("tr", {}, ...keys.map((k) => make("th", { scope: "col" }, words(k))))),
        make("tbody", {}, ...list.slice(0, 100).map((one) => make("tr", {}, ...keys.map((k) => make("td", {}, cell(k, one[k]))))))));
}

export function pairs(object) {
    const list = make("dl", { class: "pairs" });
    for (const [key, value] of Object.entries(object)) {
        if (Array.isArray(value)) {
            const rows = value.length && typeof value[0] === "object";
            list.append(make("dt", { class: rows ? "wide" : "" }, words(key)),
                        rows ? make("dd", { class: "wide" }, table(value)) : make("dd", {}, value.join(", ") || "\u2013"));
        } else if (value && typeof value === "object" && "p50" in value) {
            list.append(make("dt", {}, words(key)), make("dd", {}, value.count ? [value.p50, value.p90, value.p99].map(micros).join(" / ") : "\u2013"));
        } else if (value && typeof value === "object") {
            list.append(make("dt", { class: "wide" }, words(key)), make("dd", { class: "wide" }, pairs(value)));
        } else {
            list.append(make("dt", {}, words(key)), make("dd", {}, valueText(key, value)));
        }
    }
    return list;
}

function cacheGauge(cache) {
    if (!cache || !cache.size) return [];
    const fill = make("i");
    fill.style.width = Math.min(100, cache.used / cache.size * 100) + "%";
    const asked = cacheAsked(cache);
    return [make("div", { class: "gauge" },
        make("p", { class: "figure" }, asked ? percent((cache.hits || 0) / asked) : "\u2013", make("small", {}, " hits of " + count(asked) + " look-ups")),
        make("div", { class: "bar", role: "img", "aria-label": bytes(cache.used) + " of " + bytes(cache.size) + " used" }, fill),
        make("p", { class: "muted" }, bytes(cache.used) + " of " + bytes(cache.size) + " used"))];
}

/* ---- events, explain ---- */

const STATES = new Set(["up", "down", "ejected", "drain", "disabled", "unknown", "gone"]);

function eventItem(event) {
    const at = new Date(event.at), today = at.toDateString() === new Date().toDateString();
    const what = make("span", { class: "what" });
    const about = [event.group, event.member].filter(Boolean).join(" / ");
    if (STATES.has(event.to)) {
        what.append(pill(event.to), " ", make("b", {}, about));
        if (event.from) what.append(make("span", { class: "muted" }, " was " + event.from));
    } else {
        what.append(make("b", {}, about || event.area), " " + [event.from, event.to].filter(Boolean).join(" \u2192 "));
    }
    const because = [event.why, event.who && !event.why.includes(event.who) ? "by " + event.who : ""].filter(Boolean).join(" \u00b7 ");
    return make("li", {}, make("time", { datetime: event.at, title: at.toLocaleString() }, today ? at.toLocaleTimeString() : at.toLocaleDateString()),
                what, because ? make("span", { class: "because" }, because) : null);
}

function step(title, text, why) {
    return make("li", {}, make("b", {}, title), make("span", {}, text, why ? make("small", {}, why) : null));
}

export function explanation(said, sections) {
    const v = said.vhost, list = make("ol", { class: "way" });
    list.append(step("Virtual host", v.name || "the main server", v.file ? v.file + ":" + v.line : ""));
    list.append(step("Look-up", "status " + said.lookup.status, said.lookup.why));
    list.append(step("Route", said.route.kind === "group" ? "group " + said.route.group : said.route.kind, said.route.target));
    list.append(step("Plane", said.plane, said.plane_why));
    for (const section of sections) {
        const one = said[section.name];
        if (!one || section.name === "engine" || !Object.keys(one).length) continue;
        const rest = Object.entries(one).filter(([k, x]) => !["verdict", "why"].includes(k) && typeof x !== "object")
            .map(([k, x]) => words(k).toLowerCase() + " " + valueText(k, x)).join(", ");
        list.append(step(section.title, [one.verdict, rest].filter(Boolean).join(": "), one.why));
    }
    return list;
}
