/* app.js - asks for status.json again and again while somebody looks, and has it shown. */

import { Actions, send, toast } from "./actions.js";
import { Model } from "./model.js";
import { View, explanation, make } from "./view.js";

const FAST_MS = 1000, SLOW_MS = 2000, MANY = 120, LOST_MS = 5000;

const model = new Model();
const actions = new Actions(() => tick());
const view = new View(model, actions);
const live = document.getElementById("live"), liveText = document.getElementById("live-text");
let paused = false, timer = 0, asking = false, answered = Date.now();

function say(state, text) {
    if (live.dataset.live !== state) live.dataset.live = state;
    if (liveText.textContent !== text) liveText.textContent = text;
}

async function load(path) {
    const answer = await fetch(path, { cache: "no-store", headers: { Accept: "application/json" }, signal: AbortSignal.timeout(8000) });
    if (!answer.ok) throw new Error("status " + answer.status);
    return answer.json();
}

async function tick() {
    clearTimeout(timer);
    if (asking) return;
    asking = true;
    try {
        const [status, events] = await Promise.all([load("status.json"), load("events.json")]);
        answered = Date.now();
        model.take(status);
        model.events = events.events;
        actions.admin = status.admin.on;
        view.show();
        say("on", "live");
    } catch (error) {
        const seconds = Math.round((Date.now() - answered) / 1000);
        if (Date.now() - answered > LOST_MS) say("lost", "no answer for " + seconds + " s");
    }
    asking = false;
    next();
}

function next() {
    clearTimeout(timer);
    if (paused || document.hidden) {
        say("off", paused ? "paused" : "waiting");
        return;
    }
    const members = model.status ? model.status.groups.reduce((n, g) => n + g.members.length, 0) : 0;
    timer = setTimeout(tick, members > MANY ? SLOW_MS : FAST_MS);
}

/* ---- controls ---- */

const find = document.getElementById("find"), pause = document.getElementById("pause"), problems = document.getElementById("problems");

const show = () => model.status && view.show();

find.addEventListener("input", () => {
    view.find = find.value.trim().toLowerCase();
    show();
});

problems.addEventListener("click", () => {
    view.problems = !view.problems;
    problems.setAttribute("aria-pressed", view.problems);
    show();
});

pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Resume" : "Pause";
    if (paused) next();
    else tick();
});

document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)
        && !actions.dialog.open) {
        event.preventDefault();
        find.focus();
    } else if (event.key === "Escape" && event.target === find) {
        find.value = "";
        find.dispatchEvent(new Event("input"));
        find.blur();
    }
});

document.addEventListener("visibilitychange", () => (document.hidden ? next() : tick()));

document.getElementById("explain-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const place = document.getElementById("explain-answer"), url = document.getElementById("explain-url").value.trim();
    try {
        const said = await send("GET", "explain.json?url=" + encodeURIComponent(url));
        place.replaceChildren(explanation(said, model.status ? model.status.sections : []));
    } catch (error) {
        place.replaceChildren(make("p", { class: "wrong" }, error.message));
        toast("That could not be explained.");
    }
});

tick();
