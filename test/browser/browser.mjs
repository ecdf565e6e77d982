/*
 * browser.mjs - a chromium that Python tests drive: one JSON command per line on stdin, one JSON answer per line on stdout.
 * Whatever the page says on its console, throws, or breaks of its Content-Security-Policy is kept and told with "trouble".
 */
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const { chromium } = createRequire(process.env.GATE_NODE_MODULES + "/")("playwright-core");

const browser = await chromium.launch({
    executablePath: process.env.GATE_CHROMIUM || "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync", "--explicitly-allowed-ports=10080"],
});
let context, page, trouble = [], asked = [];

const commands = {
    async open({ url, width = 1360, height = 900, scheme = "light", script = true }) {
        if (context) await context.close();
        trouble = [];
        asked = [];
        context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width, height }, colorScheme: scheme, javaScriptEnabled: script, bypassCSP: false });
        page = await context.newPage();
        page.setDefaultTimeout(10000);
        page.on("console", (m) => ["error", "warning"].includes(m.type()) && trouble.push("console: " + m.text()));
        page.on("pageerror", (e) => trouble.push("thrown: " + e.message));
        page.on("dialog", (d) => { trouble.push("dialog: " + d.message()); d.dismiss(); });
        page.on("request", (r) => asked.push(r.url()));
        if (script) {
            await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (e) => console.error("CSP " + e.violatedDirective)));
        }
        await page.goto(url);
    },
    wait: ({ selector, state = "visible", timeout = 10000 }) => page.waitForSelector(selector, { state, timeout }).then(() => true),
    click: ({ selector }) => page.click(selector),
    fill: ({ selector, text }) => page.fill(selector, text),
    press: ({ key }) => page.keyboard.press(key),
    text: ({ selector }) => page.textContent(selector),
    count: ({ selector }) => page.locator(selector).count(),
    focused: () => page.evaluate(() => {
        const e = document.activeElement;
        return [e.tagName, e.id, (e.getAttribute("aria-label") || e.textContent || "").trim().slice(0, 60)];
    }),
    run: ({ script }) => page.evaluate(script),
    shot: ({ path, whole = false }) => page.screenshot({ path, fullPage: whole }).then(() => true),
    trouble: () => trouble,
    asked: () => asked,
};

for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, ...words } = JSON.parse(line);
    let answer;
    try {
        answer = { ok: (await commands[name](words)) ?? null };
    } catch (error) {
        answer = { error: String(error.message || error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();
