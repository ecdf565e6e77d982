/* model.js - what the page knows: the last status, and of the last minutes what has to be told as a rate or a curve. */

const KEEP_MS = 5 * 60 * 1000;
const RATE_MS = 6000;
const ERROR_MS = 60000;

/* Counter values over time of one thing. */
class Track {
    constructor() {
        this.points = []; /* {at, requests, failures, rate} */
        this.checks = [];
    }

    add(at, requests, failures) {
        const last = this.points[this.points.length - 1];
        if (last && (requests < last.requests || at <= last.at)) {
            this.points = []; /* the server was started anew */
        }
        const point = { at, requests, failures, rate: 0 };
        this.points.push(point);
        point.rate = this.over(RATE_MS).rate;
        while (this.points.length > 2 && this.points[0].at < at - KEEP_MS) {
            this.points.shift();
        }
    }

    /* Per second, and the share of failures (null: nothing came), over the last ms. */
    over(ms) {
        const last = this.points[this.points.length - 1];
        const first = this.points.find((p) => p.at >= last.at - ms - 200);
        const seconds = (last.at - first.at) / 1000;
        if (seconds <= 0) {
            return { rate: 0, errors: null };
        }
        const requests = last.requests - first.requests;
        return { rate: requests / seconds, errors: requests > 0 ? (last.failures - first.failures) / requests : null };
    }

    get rate() { return this.points.length ? this.points[this.points.length - 1].rate : 0; }
    get errors() { return this.points.length ? this.over(ERROR_MS).errors : null; }
    get curve() { return this.points; }
}

export class Model {
    constructor() {
        this.tracks = new Map();
        this.status = null;
        this.events = [];
    }

    track(key) {
        let track = this.tracks.get(key);
        if (!track) {
            track = new Track();
            this.tracks.set(key, track);
        }
        return track;
    }

    take(status) {
        const at = Date.parse(status.now);
        const living = new Set(["all", "cache"]);
        let all = 0, allFailed = 0;

        this.status = status;
        for (const group of status.groups) {
            let sum = 0, failed = 0;
            for (const member of group.members) {
                const key = memberKey(group, member);
                this.track(key).add(at, member.requests, member.failures);
                noteCheck(this.track(key), member);
                living.add(key);
                sum += member.requests;
                failed += member.failures;
            }
            this.track("g " + group.name).add(at, sum, failed);
            living.add("g " + group.name);
            all += sum;
            allFailed += failed;
        }
        this.track("all").add(at, all, allFailed);
        if (status.cache) {
            this.track("cache").add(at, cacheAsked(status.cache), status.cache.hits || 0);
        }
        for (const key of [...this.tracks.keys()]) {
            if (!living.has(key)) {
                this.tracks.delete(key);
            }
        }
    }
}

export const memberKey = (group, member) => "m " + group.name + "\n" + member.id;

export const cacheAsked = (cache) => (cache.hits || 0) + (cache.misses || 0) + (cache.stale || 0);

/* Where a module tells only the last check, the page remembers those before. */
function noteCheck(track, member) {
    if (Array.isArray(member.checks)) {
        track.checks = member.checks.map((c) => (typeof c === "object" && c ? c : { ok: Boolean(c) })).slice(-20);
        return;
    }
    const check = member.check;
    const last = track.checks[track.checks.length - 1];
    if (check && check.at && (!last || last.at !== check.at)) {
        track.checks.push(check);
        track.checks.splice(0, track.checks.length - 20);
    }
}

/* ---- numbers as words ---- */

export function count(n) {
    if (n >= 1e9) return (n / 1e9).toFixed(n < 1e10 ? 2 : 1) + " G";
    if (n >= 1e6) return (n / 1e6).toFixed(n < 1e7 ? 2 : 1) + " M";
    if (n >= 1e4) return (n / 1e3).toFixed(n < 1e5 ? 1 : 0) + " k";
    return String(n);
}

export function rate(n) {
    if (n === 0) return "0";
    if (n < 10) return n.toFixed(1);
    return count(Math.round(n));
}

export function bytes(n) {
    const units = ["B", "KB", "MB", "GB", "TB"];
    let i = 0;
    while (n >= 1024 && i < units.length - 1) {
        n /= 1024;
        i++;
    }
    return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + " " + units[i];
}

export function micros(us) {
    if (us < 1000) return us + " \u00b5s";
    if (us < 1e5) return (us / 1e3).toFixed(1) + " ms";
    if (us < 1e6) return Math.round(us / 1e3) + " ms";
    return (us / 1e6).toFixed(us < 1e7 ? 2 : 1) + " s";
}

export function percent(share) {
    if (share === null || share === undefined) return "\u2013";
    const p = share * 100;
    return (p === 0 || p >= 99.95 ? Math.round(p) : p < 0.1 ? p.toFixed(2) : p.toFixed(1)) + " %";
}

export function span(seconds) {
    const s = Math.max(0, Math.round(seconds));
    if (s < 60) return s + " s";
    if (s < 3600) return Math.floor(s / 60) + " min";
    if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
    return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
}
