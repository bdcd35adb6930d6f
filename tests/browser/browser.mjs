// Debian's chromium, and the eye that looks at every page: widths, colour schemes, axe, the Tab key, weight, the console.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

import { ROOT } from "./portal.mjs";

const SCREENSHOTS = join(ROOT, "ci-output/screenshots");
const PAGE_BYTES_MAX = 60_000;
const [PHONE, USUAL, WIDE] = [360, 1280, 1920];
// Between them, where the layout changes.
const BETWEEN = [480, 768, 960];
// A button of two lines is taller.
const BUTTON_HEIGHT_MAX = 60;
const SCHEMES = ["light", "dark"];
const HEIGHT = 900;
const PROGRAMS = [process.env.SLUICE_TEST_BROWSER, process.env.CHROME_PATH, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export async function launch() {
  const executablePath = PROGRAMS.find((path) => path && existsSync(path));
  assert.ok(executablePath, "no browser: apt-get install chromium, or name one in CHROME_PATH");
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run", "--disable-component-update", "--disable-sync"],
  });
}

// One person's browser: a page with its own cookies, whose complaints are collected.
export async function personIn(browser, base, options = {}) {
  const context = await browser.newContext({ baseURL: base, viewport: { width: USUAL, height: HEIGHT }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(`${page.url()}: ${error}`));
  page.on("console", (message) => {
    if (message.type() === "error") page.complaints.push(`${message.location().url}: ${message.text()}`);
  });
  return page;
}

// The paths of all pages that were looked at.
export const lookedAt = new Set();

// Looks at the page as it stands; the screenshots are called `name`. What is wrong with it is among the complaints at the end.
export async function look(page, name) {
  lookedAt.add(new URL(page.url()).pathname);
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.evaluate(() => document.fonts.ready);
  const faults = [];
  for (const width of BETWEEN) faults.push(...(await overflow(page, width)));
  for (const width of [WIDE, USUAL, PHONE]) {
    faults.push(...(await overflow(page, width)));
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme });
      const path = join(SCREENSHOTS, `${name}-${width}-${colorScheme}.jpg`);
      await page.screenshot({ path, type: "jpeg", quality: 85, fullPage: width !== WIDE });
      // Colours differ by scheme and layout by width, so that two of the views show everything. From 960 px on the layout is one.
      if ((width === WIDE && colorScheme === "light") || (width === PHONE && colorScheme === "dark")) {
        faults.push(...(await accessibility(page)).map((fault) => `${width} px, ${colorScheme}: ${fault}`));
      }
    }
  }
  const weight = await page.evaluate(() =>
    [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, entry) => sum + entry.encodedBodySize, 0),
  );
  if (weight === 0 || weight > PAGE_BYTES_MAX) faults.push(`weighs ${weight} bytes with all it loads`);
  await page.setViewportSize({ width: USUAL, height: HEIGHT });
  await page.emulateMedia({ colorScheme: "light" });
  faults.push(...(await page.evaluate((max) => [...document.querySelectorAll("button")].filter((one) => one.offsetHeight > max).map((one) => `broken over lines: ${one.outerHTML}`), BUTTON_HEIGHT_MAX)));
  // Last, because it leaves the focus somewhere.
  faults.push(...(await byKeyboard(page)));
  page.complaints.push(...faults.map((fault) => `${name}: ${fault}`));
}

async function overflow(page, width) {
  await page.setViewportSize({ width, height: HEIGHT });
  const needed = await page.evaluate(() => document.documentElement.scrollWidth);
  return needed > width ? [`${needed} px wide in a window of ${width} px`] : [];
}

// From now on answers come to this page at `bytes` a second, so that a stream is still on its way when somebody stops it.
export async function slowly(page, bytes) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.emulateNetworkConditions", { offline: false, latency: 0, uploadThroughput: -1, downloadThroughput: bytes });
}

async function accessibility(page) {
  // There are no frames, so that axe need not open a second page to put its findings together.
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().options({ resultTypes: ["violations"] }).analyze();
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 160)} (${[...node.any, ...node.all, ...node.none][0]?.message ?? ""})`));
}

// Presses Tab through the whole page: everything one can use has to be reached, and to show that it is.
async function byKeyboard(page) {
  const usable = await page.evaluate(() => {
    const chosen = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
    // Of the answers to one question, Tab stops at the one that is given; the arrow keys go on from there.
    const isOtherAnswer = (one) => one.type === "radio" && !one.checked && document.querySelector(`input[type=radio][name="${one.name}"]:checked`);
    window.toReach = [...document.querySelectorAll(chosen)].filter((one) => !one.disabled && !isOtherAnswer(one) && one.checkVisibility({ visibilityProperty: true }));
    window.reached = new Set();
    window.unseen = new Set();
    document.activeElement?.blur();
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
    addEventListener("focusin", ({ target }) => {
      reached.add(target);
      const { outlineStyle, outlineWidth } = getComputedStyle(target);
      if (outlineStyle === "none" || parseFloat(outlineWidth) < 2) unseen.add(target);
    });
    return toReach.length;
  });
  // A date has several parts, each with a stop of its own.
  for (let tabs = 0; tabs < usable + 12; tabs++) await page.keyboard.press("Tab");
  return page.evaluate(() => {
    const named = (what) => (one) => `${what}: ${one.outerHTML.slice(0, 160)}`;
    return [...toReach.filter((one) => !reached.has(one)).map(named("Tab does not reach it")), ...[...unseen].map(named("its focus cannot be seen"))];
  });
}

// Says that nothing is wrong with the pages and that nothing complained, except about documents the story expects to be refused.
export function assertCalm(page, ...expected) {
  assert.deepEqual(page.complaints.filter((words) => !expected.some((pattern) => pattern.test(words))), []);
}
