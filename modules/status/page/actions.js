/* actions.js - dialogues, and what they ask the admin API for. Nothing is sent before it was confirmed. */

import { bytes, count, micros, percent, span } from "./model.js";
import { make, pairs, pill } from "./view.js";

const token = () => document.querySelector('meta[name="gate-token"]').content;

export class Problem extends Error {}

/* Sends and gives back the answer's JSON (null for none); throws a Problem with the server's own words. */
export async function send(method, path, body, tag) {
    const headers = { "X-Gate-Token": token(), Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (tag) headers["If-Match"] = '"' + tag + '"';
    let answer;
    try {
        answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" });
    } catch (error) {
        throw new Problem("The server did not answer.");
    }
    const text = await answer.text();
    let said = null;
    try {
        said = text ? JSON.parse(text) : null;
    } catch (error) {
        said = null;
    }
    if (!answer.ok) {
        throw new Problem(said && said.detail ? said.detail : "The server answered " + answer.status + ".");
    }
    return said;
}

export function toast(text) {
    const one = make("div", { class: "toast" }, text);
    document.getElementById("toasts").append(one);
    setTimeout(() => one.remove(), 6000);
}

const memberPath = (group, member) =>
    "api/v1/groups/" + encodeURIComponent(group.name) + "/members" + (member ? "/" + encodeURIComponent(member.id) : "");

export class Actions {
    constructor(refresh) {
        this.refresh = refresh;
        this.dialog = document.getElementById("dialog");
        this.dialog.addEventListener("click", (event) => {
            if (event.target === this.dialog) this.dialog.close();
        });
    }

    show(title, body, ...foot) {
        const close = make("button", { type: "button", class: "bare", "aria-label": "Close", on: { click: () => this.dialog.close() } }, "\u2715");
        this.dialog.replaceChildren(make("header", {}, make("h2", { id: "dialog-title" }, title), close),
                                    make("div", { class: "body" }, ...body), ...(foot.length ? [make("div", { class: "foot" }, ...foot)] : []));
        if (!this.dialog.open) this.dialog.showModal();
        const first = this.dialog.querySelector("[autofocus], .body input, .foot button") || close;
        first.focus();
    }

    /* Asks, and if confirmed does work(); what it returns is told. */
    confirm(title, text, label, danger, work, fields) {
        const wrong = make("p", { class: "wrong", role: "alert", hidden: true });
        const form = make("form", { id: "confirm-form", method: "dialog" }, make("p", {}, text), fields ? make("div", { class: "fields" }, ...fields) : null, wrong);
        const yes = make("button", { type: "submit", form: "confirm-form", class: danger ? "danger" : "" }, label);
        form.addEventListener("submit", async (event) => {
            event.preventDefault();
            yes.disabled = true;
            wrong.hidden = true;
            try {
                const said = await work(form);
                this.dialog.close();
                toast(said);
                this.refresh();
            } catch (error) {
                wrong.textContent = error instanceof Problem ? error.message : String(error);
                wrong.hidden = false;
                yes.disabled = false;
            }
        });
        this.show(title, [form], make("button", { type: "button", class: "quiet", on: { click: () => this.dialog.close() } }, "Cancel"), yes);
        if (!fields) yes.focus();
    }

    /* ---- members ---- */

    open(group, member) {
        const l = member.latency_us, facts = {
            URL: member.url, Why: member.why || "\u2013", Since: member.since ? new Date(member.since).toLocaleString() : "\u2013",
            Origin: member.origin, "Requests": count(member.requests), "Failures": count(member.failures),
            "Failed in all": percent(member.requests ? member.failures / member.requests : null), "Retries here": count(member.retries),
            "In flight": member.inflight + (member.connections ? " of " + member.connections : ""), "Weight": String(member.weight),
            "Sent to it": bytes(member.bytes_in), "Sent by it": bytes(member.bytes_out),
            "p50 / p90 / p99": l.count ? [l.p50, l.p90, l.p99].map(micros).join(" / ") : "\u2013",
        };
        for (const [name, n] of Object.entries(member.outcomes || {})) {
            if (n) facts["Tries ended: " + name] = count(n);
        }
        if (member.check && member.check.at) facts["Last check"] = (member.check.ok ? "good" : "bad") + (member.check.why ? ": " + member.check.why : "");
        const body = [make("p", { class: "lead" }, pill(member.state), make("span", { class: "muted" }, " member of " + group.name)), pairs(facts)];
        this.show(member.id, body, ...(this.admin ? this.buttons(group, member) : []));
    }

    buttons(group, member) {
        const state = (word, label, text, danger) => make("button", {
            type: "button", class: "quiet", on: {
                click: () => this.confirm(label + " " + member.id + "?", text, label, danger, async () => {
                    await send("PATCH", memberPath(group, member), { state: word }, member.etag);
                    return member.id + " of " + group.name + ": " + (word === "up" ? "enabled" : word === "drain" ? "draining" : "disabled");
                }),
            },
        }, label);
        const list = [make("button", { type: "button", class: "quiet left", on: { click: () => this.remove(group, member) } }, "Remove")];
        list.push(make("button", { type: "button", class: "quiet", on: { click: () => this.weight(group, member) } }, "Weight"));
        if (member.state !== "disabled") list.push(state("disabled", "Disable", "Nobody is sent to it any more. What is in flight is finished.", true));
        if (member.state !== "drain") list.push(state("drain", "Drain", "It gets no new clients; those bound to it go on, and what is in flight is finished."));
        if (member.state === "drain" || member.state === "disabled") list.push(state("up", "Enable", "It is chosen again as its checks allow."));
        return list;
    }

    weight(group, member) {
        const input = make("input", { type: "number", name: "weight", min: 1, max: 1000, required: true, value: member.weight, autofocus: true });
        this.confirm("Weight of " + member.id, "Its share of the group's requests, from 1 to 1000.", "Set weight", false, async () => {
            await send("PATCH", memberPath(group, member), { weight: Number(input.value) }, member.etag);
            return member.id + " of " + group.name + ": weight " + input.value;
        }, [make("label", {}, make("span", {}, "Weight"), input)]);
    }

    remove(group, member) {
        const again = member.origin === "config" ? " It stays away until the configuration names it no more, or under another URL." : "";
        this.confirm("Remove " + member.id + "?", "It leaves the group " + group.name + "; what is in flight is finished." + again, "Remove", true, async () => {
            await send("DELETE", memberPath(group, member), undefined, member.etag);
            return member.id + " of " + group.name + " removed";
        });
    }

    add(group) {
        const url = make("input", { name: "url", required: true, placeholder: "http://10.0.0.5:8080", autofocus: true, spellcheck: "false" });
        const id = make("input", { name: "id", placeholder: "host:port", spellcheck: "false" });
        const weight = make("input", { name: "weight", type: "number", min: 1, max: 1000, value: 1 });
        const drain = make("input", { name: "drain", type: "checkbox" }), backup = make("input", { name: "backup", type: "checkbox" });
        this.confirm("Add a member to " + group.name, "It is used at once.", "Add member", false, async () => {
            const body = { url: url.value.trim(), weight: Number(weight.value) || 1 };
            if (id.value.trim()) body.id = id.value.trim();
            if (drain.checked) body.state = "drain";
            if (backup.checked) body.backup = true;
            const made = await send("POST", memberPath(group), body);
            return made.id + " added to " + group.name;
        }, [make("label", {}, make("span", {}, "URL"), url), make("label", {}, make("span", {}, "Id"), id, make("small", {}, "Left empty: host and port.")),
            make("label", {}, make("span", {}, "Weight"), weight),
            make("label", { class: "check" }, backup, make("span", {}, "Backup: only when no other can be used")),
            make("label", { class: "check" }, drain, make("span", {}, "Add it drained, to enable it later"))]);
    }

    /* ---- sections' actions ---- */

    async run(section, action) {
        if (action.method === "GET") {
            try {
                const said = await send("GET", "api/v1/" + action.path);
                this.show(action.title, [Object.keys(said).length ? pairs(said) : make("p", { class: "muted" }, "Nothing there.")]);
            } catch (error) {
                toast(error.message);
            }
            return;
        }
        const inputs = action.params.map((param) => [param, this.input(param)]);
        this.confirm(section.title + ": " + action.title, action.help, action.title, action.method === "DELETE", async () => {
            const body = {};
            for (const [param, input] of inputs) {
                if (param.kind === "flag") {
                    if (input.checked) body[param.name] = true;
                } else if (input.value.trim()) {
                    body[param.name] = param.kind === "number" ? Number(input.value)
                        : param.kind === "texts" ? input.value.split(/[\s,]+/).filter(Boolean) : input.value.trim();
                }
            }
            const query = new URLSearchParams(Object.entries(body).flatMap(([k, v]) => [].concat(v).map((one) => [k, one])));
            const said = action.method === "POST" ? await send("POST", "api/v1/" + action.path, body)
                : await send(action.method, "api/v1/" + action.path + "?" + query);
            return said && said.said ? said.said : action.title + ": done";
        }, inputs.map(([param, input]) => param.kind === "flag"
            ? make("label", { class: "check" }, input, make("span", {}, param.help || param.name))
            : make("label", {}, make("span", {}, param.name), input, make("small", {}, param.help))));
    }

    input(param) {
        if (param.kind === "flag") return make("input", { type: "checkbox", name: param.name });
        if (param.choices) {
            return make("select", { name: param.name, required: param.required },
                        ...(param.required ? [] : [make("option", { value: "" }, "")]), ...param.choices.split("|").map((c) => make("option", { value: c }, c)));
        }
        return make("input", { name: param.name, required: param.required, type: param.kind === "number" ? "number" : "text", spellcheck: "false", autocomplete: "off" });
    }
}
