// Signing in, applying and the playground with the keyboard alone: no pointer is used anywhere here.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { assertCalm, launch, look, personIn, slowly } from "./browser.mjs";
import { ANSWERS, GATED_MODEL, OPEN_MODEL, PASSWORD, addPerson, apply, signIn } from "./people.mjs";
import { Portal, until } from "./portal.mjs";

const TABS_MAX = 150;
let portal, browser;

before(async () => {
  [portal, browser] = [await Portal.start(), await launch()];
  await addPerson(portal, "emmy@lab.example", "Emmy Noether", "researcher");
});
after(async () => {
  await browser?.close();
  await portal?.stop();
});

// Presses Tab until the element has the focus, and says that one sees where the focus is.
async function reach(page, target) {
  for (let tabs = 0; tabs < TABS_MAX; tabs++) {
    if (await target.evaluate((element) => element === document.activeElement)) {
      const seen = await target.evaluate((element) => {
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
      });
      assert.ok(seen, `the focus on ${target} cannot be seen`);
      return;
    }
    await page.keyboard.press("Tab");
  }
  assert.fail(`${target} cannot be reached by Tab`);
}

async function give(page, [kind, label, value]) {
  if (kind === "tick") {
    await reach(page, page.getByRole("checkbox", { name: label }));
    return page.keyboard.press("Space");
  }
  if (kind === "select") {
    await reach(page, page.getByRole("combobox", { name: label }));
    return page.keyboard.type(value);
  }
  await reach(page, page.getByLabel(label, { exact: true }));
  return page.keyboard.insertText(value);
}

async function signInByKeyboard(page) {
  await page.goto("/sign-in");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await page.keyboard.press("Enter");
  await give(page, ["text", "E-mail address", "emmy@lab.example"]);
  await give(page, ["text", "Password", PASSWORD]);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

test("by keyboard: sign in, apply, continue a text", async (t) => {
  const emmy = await personIn(browser, portal.base);

  await t.test("signs in over the skip link", () => signInByKeyboard(emmy));

  await t.test("applies", async () => {
    await emmy.goto(`/${GATED_MODEL}`);
    await reach(emmy, emmy.getByRole("link", { name: "Apply for access" }).first());
    await emmy.keyboard.press("Enter");
    await emmy.getByRole("heading", { level: 1, name: "Apply for" }).waitFor();
    for (const one of ANSWERS) await give(emmy, one);
    for (const terms of ["Under the licence", "Under the terms of this portal"]) {
      for (const clause of await emmy.getByRole("group", { name: terms }).getByRole("checkbox").all()) {
        await reach(emmy, clause);
        await emmy.keyboard.press("Space");
      }
    }
    await reach(emmy, emmy.getByRole("button", { name: "Send application" }));
    await emmy.keyboard.press("Enter");
    await emmy.getByRole("heading", { level: 1, name: "Application for" }).waitFor();
  });

  await t.test("continues a text and stops it", async () => {
    await emmy.goto("/playground");
    await reach(emmy, emmy.getByLabel("Your text"));
    await emmy.keyboard.type("Down the canal there came a");
    await reach(emmy, emmy.getByLabel("Model", { exact: true }));
    await emmy.keyboard.type(OPEN_MODEL);
    await reach(emmy, emmy.getByLabel("Most tokens to add"));
    await emmy.keyboard.press("ControlOrMeta+A");
    await emmy.keyboard.type("400");
    await slowly(emmy, 2_000);
    await emmy.keyboard.press("Control+Enter");
    await emmy.getByRole("button", { name: "Stop" }).waitFor();
    await emmy.keyboard.press("Escape");
    await emmy.getByRole("status").filter({ hasText: /Stopped/ }).waitFor();
  });

  assertCalm(emmy);
});

test("what is written is saved when the page is left, and kept while one is signed out", async () => {
  await addPerson(portal, "lise@lab.example", "Lise", "researcher");
  const lise = await personIn(browser, portal.base);
  await signIn(lise, "lise@lab.example");
  const title = () => lise.getByLabel("Title", { exact: true });
  await lise.goto(`/${GATED_MODEL}/apply`);
  await title().pressSequentially("Written in haste");
  // Before the three seconds are over.
  await lise.goto("/models");
  await until("what was written is saved", 20_000, async () => {
    await lise.goto(`/${GATED_MODEL}/apply`);
    return (await title().inputValue()) === "Written in haste";
  });

  // What is written while a save is on its way is saved, too.
  const saves = [];
  await lise.route("**/apply/draft", async (route) => {
    saves.push(new URLSearchParams(route.request().postData()).get("title"));
    if (saves.length === 1) await new Promise((done) => setTimeout(done, 4_000));
    await route.continue();
  });
  await title().fill("First");
  while (saves.length < 1) await lise.waitForTimeout(100);
  await title().fill("Second");
  while (saves.length < 2) await lise.waitForTimeout(100);
  await lise.getByRole("status").filter({ hasText: "Draft saved" }).waitFor();
  assert.deepEqual(saves, ["First", "Second"]);

  const elsewhere = await lise.context().newPage();
  await elsewhere.goto("/");
  await elsewhere.getByRole("button", { name: "Sign out" }).click();
  await elsewhere.getByText("You are signed out.").waitFor();
  await title().fill("Third");
  await lise.getByRole("status").filter({ hasText: "You have been signed out" }).waitFor();
  await lise.getByRole("button", { name: "Save draft" }).click();
  await lise.getByRole("heading", { level: 1, name: "You have been signed out" }).waitFor();
  await look(lise, "signed-out");
  const href = await lise.getByRole("link", { name: "Sign in in another tab" }).getAttribute("href");
  assert.equal(decodeURIComponent(href), `/sign-in?then=/${GATED_MODEL}/apply`);
  await signIn(elsewhere, "lise@lab.example");
  await lise.getByRole("button", { name: "Send it again" }).click();
  await lise.getByRole("heading", { level: 1, name: "Apply for" }).waitFor();
  assert.equal(await title().inputValue(), "Third");
  assertCalm(lise, /401/);
});

test("a reviewer works through the queue by keys alone", async () => {
  await addPerson(portal, "grace@lab.example", "Grace Hopper", "reviewer");
  await addPerson(portal, "kay@uni.edu", "Kay", "researcher");
  const kay = await personIn(browser, portal.base);
  await signIn(kay, "kay@uni.edu");
  await apply(kay, GATED_MODEL);
  const grace = await personIn(browser, portal.base);
  await signIn(grace, "grace@lab.example");
  await grace.goto("/review");
  const press = async (keys) => {
    for (const key of keys) await grace.keyboard.press(key);
  };
  await press("?");
  await grace.getByRole("dialog").waitFor();
  await press(["Escape"]);
  await grace.getByRole("dialog").waitFor({ state: "hidden" });
  // Whoever applied before stands above.
  const above = await grace.locator("tr[data-case]").evaluateAll((rows) => rows.findIndex((row) => row.innerText.includes("Kay")));
  await press([...Array(above + 1).fill("j"), "x"]);
  assert.ok(await grace.getByRole("checkbox", { name: "Kay" }).isChecked());
  // A key of a case opens the row there; claiming is done at once.
  await press(["r"]);
  await grace.getByRole("heading", { level: 1, name: "Kay" }).waitFor();
  assert.ok(await grace.locator("details", { hasText: "Ask for changes" }).evaluate((details) => details.open));
  assert.ok(await grace.getByLabel("What is to be changed").evaluate((field) => field === document.activeElement));
  await grace.goto("/review");
  await press([...Array(above + 1).fill("j"), "c"]);
  await grace.getByRole("heading", { level: 1, name: "Kay" }).waitFor();
  await grace.getByText("You have seen to it").waitFor();
  await press("m");
  await grace.keyboard.type("Sound.");
  await grace.keyboard.press("Tab");
  await grace.keyboard.press("Enter");
  await grace.getByText("Reviewers only", { exact: true }).waitFor();
  await press("r");
  assert.ok(await grace.getByLabel("What is to be changed").evaluate((field) => field === document.activeElement));
  await grace.keyboard.press("Escape");
  await grace.locator("h1").evaluate(() => document.activeElement.blur());
  await press("a");
  assert.ok(await grace.getByLabel("Access ends on").evaluate((field) => field === document.activeElement), "a leads there and decides nothing");
  await grace.keyboard.press("Enter");
  await grace.getByRole("button", { name: "Take it back" }).waitFor();
  await press(["u", "Enter"]);
  await grace.getByRole("button", { name: "Give it back" }).waitFor();
  await press(["g", "q"]);
  await grace.getByRole("heading", { name: "Applications to review" }).waitFor();
  assertCalm(grace);
});
