// What applicants, reviewers and admins do, with the keyboard alone: no pointer is used by whomever a story is about.

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

// Goes to something that acts, and lets it.
async function press(page, role, name) {
  await reach(page, page.getByRole("main").getByRole(role, { name, exact: typeof name === "string" }).first());
  await page.keyboard.press("Enter");
}

async function tick(page, box) {
  await reach(page, box);
  await page.keyboard.press("Space");
}

async function told(page, words) {
  await page.getByRole("status").filter({ hasText: words }).first().waitFor();
}

async function signInByKeyboard(page, email) {
  await page.goto("/sign-in");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await page.keyboard.press("Enter");
  await give(page, ["text", "E-mail address", email]);
  await give(page, ["text", "Password", PASSWORD]);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

test("by keyboard: sign in, apply, continue a text", async (t) => {
  const emmy = await personIn(browser, portal.base);

  await t.test("signs in over the skip link", () => signInByKeyboard(emmy, "emmy@lab.example"));

  await t.test("applies", async () => {
    await emmy.goto(`/${GATED_MODEL}`);
    await reach(emmy, emmy.getByRole("link", { name: "Apply for access" }).first());
    await emmy.keyboard.press("Enter");
    await emmy.getByRole("heading", { level: 1, name: "Apply for" }).waitFor();
    for (const one of ANSWERS) await give(emmy, one);
    for (const terms of ["Under the licence", "Under the terms of this portal"]) {
      for (const clause of await emmy.getByRole("group", { name: terms }).getByRole("checkbox").all()) {
        await tick(emmy, clause);
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
  await addPerson(portal, "lena@lab.example", "Lena", "researcher");
  const lena = await personIn(browser, portal.base);
  await signIn(lena, "lena@lab.example");
  const title = () => lena.getByLabel("Title", { exact: true });
  await lena.goto(`/${GATED_MODEL}/apply`);
  await title().pressSequentially("Written in haste");
  // Before the three seconds are over.
  await lena.goto("/models");
  await until("what was written is saved", 20_000, async () => {
    await lena.goto(`/${GATED_MODEL}/apply`);
    return (await title().inputValue()) === "Written in haste";
  });

  // Loaded again at once, the page may be drawn before what was saved in leaving has arrived: it looks once more, and goes on from there.
  await title().fill("Loaded again");
  await lena.reload();
  await until("what was written is there", 10_000, async () => (await title().inputValue().catch(() => "")) === "Loaded again");
  await title().fill("And gone on");
  await lena.getByRole("status").filter({ hasText: "Draft saved" }).waitFor();

  // What is written while a save is on its way is saved, too.
  const saves = [];
  await lena.route("**/apply/draft", async (route) => {
    saves.push(new URLSearchParams(route.request().postData()).get("title"));
    if (saves.length === 1) await new Promise((done) => setTimeout(done, 4_000));
    await route.continue();
  });
  await title().fill("First");
  while (saves.length < 1) await lena.waitForTimeout(100);
  await title().fill("Second");
  while (saves.length < 2) await lena.waitForTimeout(100);
  await lena.getByRole("status").filter({ hasText: "Draft saved" }).waitFor();
  assert.deepEqual(saves, ["First", "Second"]);

  const elsewhere = await lena.context().newPage();
  await elsewhere.goto("/");
  await elsewhere.getByRole("button", { name: "Sign out" }).click();
  await elsewhere.getByText("You are signed out.").waitFor();
  await title().fill("Third");
  await lena.getByRole("status").filter({ hasText: "You have been signed out" }).waitFor();
  await lena.getByRole("button", { name: "Save draft" }).click();
  await lena.getByRole("heading", { level: 1, name: "You have been signed out" }).waitFor();
  await look(lena, "signed-out");
  const href = await lena.getByRole("link", { name: "Sign in in another tab" }).getAttribute("href");
  assert.equal(decodeURIComponent(href), `/sign-in?then=/${GATED_MODEL}/apply`);
  await signIn(elsewhere, "lena@lab.example");
  await lena.getByRole("button", { name: "Send it again" }).click();
  await lena.getByRole("heading", { level: 1, name: "Apply for" }).waitFor();
  assert.equal(await title().inputValue(), "Third");
  assertCalm(lena, /401/);
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
  const type = async (keys) => {
    for (const key of keys) await grace.keyboard.press(key);
  };
  await type("?");
  await grace.getByRole("dialog").waitFor();
  await type(["Escape"]);
  await grace.getByRole("dialog").waitFor({ state: "hidden" });
  // Whoever applied before stands above.
  const above = await grace.locator("tr[data-case]").evaluateAll((rows) => rows.findIndex((row) => row.innerText.includes("Kay")));
  const rowHere = () => grace.evaluate(() => document.activeElement.closest("tr[data-case]")?.innerText ?? "");
  await type(Array(above + 1).fill("j"));
  assert.match(await rowHere(), /Kay/);
  await type("k");
  assert.match(await rowHere(), /Emmy Noether/, "k goes up again");
  await type(["j", "x"]);
  assert.ok(await grace.getByRole("checkbox", { name: "Kay" }).isChecked());
  // A key of a case opens the row there; claiming is done at once.
  await type(["r"]);
  await grace.getByRole("heading", { level: 1, name: "Kay" }).waitFor();
  assert.ok(await grace.locator("details", { hasText: "Ask for changes" }).evaluate((details) => details.open));
  assert.ok(await grace.getByLabel("What should be changed").evaluate((field) => field === document.activeElement));
  await grace.goto("/review");
  await type([...Array(above + 1).fill("j"), "c"]);
  await grace.getByRole("heading", { level: 1, name: "Kay" }).waitFor();
  await grace.getByText("You claimed this").waitFor();
  await type("m");
  await grace.keyboard.type("Sound.");
  await grace.keyboard.press("Tab");
  await grace.keyboard.press("Enter");
  await grace.getByText("Reviewers only", { exact: true }).waitFor();
  await type("r");
  assert.ok(await grace.getByLabel("What should be changed").evaluate((field) => field === document.activeElement));
  const leave = () => grace.evaluate(() => document.activeElement.blur());
  await leave();
  await type("d");
  assert.ok(await grace.getByLabel("Reason", { exact: true }).evaluate((field) => field === document.activeElement), "d leads there and decides nothing");
  await leave();
  await type("a");
  assert.ok(await grace.getByLabel("Access ends on").evaluate((field) => field === document.activeElement), "a leads there and decides nothing");
  await grace.keyboard.press("Enter");
  await grace.getByRole("button", { name: "Take it back" }).waitFor();
  await type(["u", "Enter"]);
  await grace.getByRole("button", { name: "Release" }).waitFor();
  await type(["g", "q"]);
  await grace.getByRole("heading", { name: "Applications to review" }).waitFor();
  assertCalm(grace);
});

// Grace, at a desk of her own; how she works is told elsewhere.
async function reviewer(email) {
  await addPerson(portal, email, "Grace Hopper", "reviewer");
  const grace = await personIn(browser, portal.base);
  await signIn(grace, email);
  return grace;
}

test("what comes after applying, by keys alone: sent back, appealed, withdrawn, renewed, agreed to", async (t) => {
  await addPerson(portal, "lise@lab.example", "Lise Meitner", "researcher");
  const [lise, grace] = [await personIn(browser, portal.base), await reviewer("hopper@lab.example")];
  await signInByKeyboard(lise, "lise@lab.example");
  await apply(lise, GATED_MODEL);
  const application = new URL(lise.url()).pathname;
  const openCase = () => grace.goto(application.replace("/applications/", "/review/"));

  await t.test("changes what is asked for and sends it again", async () => {
    await openCase();
    await grace.locator("summary").filter({ hasText: "Ask for changes" }).click();
    await grace.getByLabel("What should be changed").fill("Six months are long for this.");
    await grace.getByRole("button", { name: "Send it back" }).click();
    await told(grace, "");
    await lise.goto("/applications");
    await press(lise, "link", GATED_MODEL);
    await press(lise, "link", "Change it");
    await lise.getByRole("heading", { level: 1, name: "Apply for" }).waitFor();
    await reach(lise, lise.getByLabel(/^For how many months/));
    await lise.keyboard.press("ControlOrMeta+A");
    await lise.keyboard.type("4");
    await press(lise, "button", "Send it again");
    await lise.getByRole("heading", { level: 1, name: "Application for" }).waitFor();
    await lise.getByText("In review").first().waitFor();
  });

  await t.test("appeals against a decline", async () => {
    await openCase();
    await grace.getByLabel("Reason", { exact: true }).selectOption({ index: 1 });
    await grace.getByLabel("Message to the applicant").fill("Please say which corpus you compare with.");
    await grace.getByRole("button", { name: "Decline" }).click();
    await grace.getByRole("button", { name: "Take it back" }).waitFor();
    await lise.goto(application);
    await reach(lise, lise.locator("summary").filter({ hasText: "Appeal to another reviewer" }));
    await lise.keyboard.press("Enter");
    await give(lise, ["text", "What was overlooked", "The summary names the corpus in its second sentence."]);
    await press(lise, "button", "Appeal");
    await lise.getByText("You appealed").waitFor();
  });

  await t.test("writes, and withdraws", async () => {
    await give(lise, ["text", "Write to the reviewers", "We do not need it any more."]);
    await press(lise, "button", "Send");
    await told(lise, "was posted");
    await reach(lise, lise.locator("summary").filter({ hasText: "Withdraw" }));
    await lise.keyboard.press("Enter");
    await press(lise, "button", "Yes, withdraw it");
    await told(lise, "was withdrawn");
  });

  await t.test("asks for a renewal and takes the request back", async () => {
    await portal.sluice(["grant", "add", "lise@lab.example", GATED_MODEL, "--days", "40", "--reason", "replication, agreed by mail"]);
    await lise.goto("/applications");
    await press(lise, "link", /^See your access/);
    await lise.getByRole("heading", { level: 1, name: "Access to" }).waitFor();
    await give(lise, ["text", "What you used it for", "We counted how many lines of verse each model repeats; the small ones repeat few."]);
    await press(lise, "button", "Ask for a renewal");
    await told(lise, "");
    await press(lise, "button", "Withdraw the request");
    await lise.getByText("Withdrawn", { exact: true }).waitFor();
  });

  await t.test("agrees to a licence that has changed", async () => {
    const admin = await personIn(browser, portal.base);
    await addPerson(portal, "root@lab.example", "Root", "admin");
    await signIn(admin, "root@lab.example");
    await admin.goto("/admin/models");
    await admin.getByRole("link", { name: `Releases of ${GATED_MODEL}`, exact: true }).click();
    await admin.getByLabel("Days to agree").fill("14");
    await admin.getByRole("button", { name: "Ask holders to agree" }).click();
    await told(admin, "");
    await lise.reload();
    await press(lise, "link", "Read and agree");
    await lise.getByRole("button", { name: "Agree", exact: true }).waitFor();
    for (const box of await lise.getByRole("checkbox").all()) await tick(lise, box);
    await press(lise, "button", "Agree");
    await told(lise, "");
  });

  assertCalm(lise);
});

test("an admin changes a gate, publishes a form and closes an account by keys alone", async (t) => {
  await addPerson(portal, "mallory@lab.example", "Mallory", "researcher");
  const admin = await personIn(browser, portal.base);
  await addPerson(portal, "ruth@lab.example", "Ruth", "admin");
  await signInByKeyboard(admin, "ruth@lab.example");

  await t.test("changes the gate of a model, and back", async () => {
    for (const [gate, words] of [["By application", "need an approved application"], ["Open to all", "Everybody can now download"]]) {
      await admin.goto("/admin/models");
      const choice = admin.getByRole("combobox", { name: `Gate of ${OPEN_MODEL}`, exact: true });
      await reach(admin, choice);
      await admin.keyboard.type(gate);
      await admin.keyboard.press("Tab");
      await admin.keyboard.press("Enter");
      if (gate === "Open to all") {
        await admin.waitForURL(/\/open$/);
        await give(admin, ["text", "The name of the model, to confirm", OPEN_MODEL]);
        await admin.keyboard.press("Enter");
      }
      await told(admin, words);
    }
  });

  await t.test("edits a form and publishes it", async () => {
    await press(admin, "link", `Form of ${GATED_MODEL}`);
    await admin.getByRole("heading", { level: 1, name: "Form of" }).waitFor();
    await press(admin, "button", "Edit a copy");
    await told(admin, "This is your draft");
    await press(admin, "button", "Remove Department or group");
    await admin.getByRole("button", { name: "Remove Department or group" }).waitFor({ state: "detached" });
    await press(admin, "link", "Compare and publish");
    await admin.getByRole("button", { name: "Publish version 1" }).waitFor();
    await press(admin, "button", "Publish version 1");
    await told(admin, "Published");
  });

  await t.test("closes an account and opens it again", async () => {
    await admin.goto("/admin/people");
    await give(admin, ["text", "Name or address", "mallory"]);
    await admin.keyboard.press("Enter");
    await admin.waitForURL(/q=mallory/);
    await reach(admin, admin.locator("summary").filter({ hasText: "Close…" }).first());
    await admin.keyboard.press("Enter");
    await press(admin, "button", "Close the account of mallory@lab.example");
    await told(admin, "is closed");
    await press(admin, "button", "Reopen the account of mallory@lab.example");
    await told(admin, "mallory@lab.example");
  });

  assertCalm(admin);
});
