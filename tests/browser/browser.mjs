// Debian's chromium, and the eye that looks at every page: two widths, two schemes, axe, weight, overflow, the console.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

import { ROOT } from "./portal.mjs";

const SCREENSHOTS = join(ROOT, "ci-output/screenshots");
const PAGE_BYTES_MAX = 100_000;
const WIDTHS = [1280, 360];
const SCHEMES = ["light", "dark"];
const STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
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
  const context = await browser.newContext({ baseURL: base, viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(`${page.url()}: ${error}`));
  page.on("console", (message) => {
    if (message.type() === "error") page.complaints.push(`${message.location().url}: ${message.text()}`);
  });
  return page;
}

// Looks at the page as it stands; the screenshots are called `name`.
export async function look(page, name) {
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.evaluate(() => document.fonts.ready);
  const faults = [];
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    const needed = await page.evaluate(() => document.documentElement.scrollWidth);
    if (needed > width) faults.push(`${name}: ${needed} px wide in a window of ${width} px`);
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-${colorScheme}-${width}.png`), fullPage: true });
      // Colours differ by scheme and layout by width, so that two of the four views show everything.
      if ((width === WIDTHS[0]) === (colorScheme === "light")) faults.push(...(await accessibility(page, `${name}, ${colorScheme}, ${width} px`)));
    }
  }
  const weight = await page.evaluate(() =>
    [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, entry) => sum + entry.encodedBodySize, 0),
  );
  if (weight === 0 || weight > PAGE_BYTES_MAX) faults.push(`${name}: weighs ${weight} bytes`);
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
  assert.deepEqual(faults, []);
}

async function accessibility(page, where) {
  const { violations } = await new AxeBuilder({ page }).withTags(STANDARD).analyze();
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${where}: ${id}: ${node.html.slice(0, 160)} (${[...node.any, ...node.all, ...node.none][0]?.message ?? ""})`));
}

// From now on answers come to this page at `bytes` a second, so that a stream is still on its way when somebody stops it.
export async function slowly(page, bytes) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.emulateNetworkConditions", { offline: false, latency: 0, uploadThroughput: -1, downloadThroughput: bytes });
}

// Says that nothing complained, except about documents the story expects to be refused.
export function assertCalm(page, ...expected) {
  assert.deepEqual(page.complaints.filter((words) => !expected.some((pattern) => pattern.test(words))), []);
}
