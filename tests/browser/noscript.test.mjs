// Without script: reading, signing in, applying, deciding and continuing a text.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { assertCalm, launch, personIn } from "./browser.mjs";
import { GATED_MODEL, OPEN_MODEL, addPerson, apply, inDays, signIn } from "./people.mjs";
import { Portal } from "./portal.mjs";

let portal, browser;

before(async () => {
  [portal, browser] = [await Portal.start(), await launch()];
  await addPerson(portal, "mary@lab.example", "Mary Somerville", "researcher");
  await addPerson(portal, "grace@lab.example", "Grace Hopper", "reviewer");
});
after(async () => {
  await browser?.close();
  await portal?.stop();
});

test("without script the whole way can be gone", async () => {
  const mary = await personIn(browser, portal.base, { javaScriptEnabled: false });
  const grace = await personIn(browser, portal.base, { javaScriptEnabled: false });

  for (const path of ["/", "/models", `/${OPEN_MODEL}`, `/${GATED_MODEL}/files`]) {
    assert.equal((await mary.goto(path)).status(), 200, path);
    assert.ok(await mary.getByRole("heading", { level: 1 }).isVisible(), path);
  }

  await signIn(mary, "mary@lab.example");
  await apply(mary, GATED_MODEL);

  await signIn(grace, "grace@lab.example");
  await grace.getByRole("link", { name: "Review", exact: true }).click();
  await grace.getByRole("link", { name: "Mary Somerville" }).click();
  await grace.getByLabel("Access ends on").fill(inDays(30));
  await grace.getByRole("button", { name: "Approve" }).click();
  await grace.getByRole("status").waitFor();

  await mary.goto("/playground");
  await mary.getByLabel("Model", { exact: true }).selectOption(GATED_MODEL);
  await mary.getByLabel("Your text").fill("The keeper of the lock");
  await mary.getByLabel("Most tokens to add").fill("16");
  await mary.getByRole("button", { name: "Continue the text" }).click();
  await mary.getByRole("status").filter({ hasText: /\d+ tokens? added/ }).waitFor();
  assert.ok((await mary.getByLabel("Your text").inputValue()).startsWith("The keeper of the lock"));

  assertCalm(mary);
  assertCalm(grace);
});
