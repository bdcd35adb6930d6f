// The whole way: sign up, apply, be approved, download with `hf`, watch the model write. Pages that no other story shows are looked at on the way.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { assertCalm, launch, look, personIn, slowly } from "./browser.mjs";
import { ANSWERS, GATED_MODEL, OPEN_MODEL, addPerson, agree, answer, inDays, signIn, signUp } from "./people.mjs";
import { Portal, ROOT, until } from "./portal.mjs";

const HF = join(ROOT, ".tools/clients/bin/hf");
let portal, browser;

before(async () => {
  [portal, browser] = [await Portal.start(), await launch()];
});
after(async () => {
  await browser?.close();
  await portal?.stop();
});

test("a newcomer goes the whole way", async (t) => {
  const ada = await personIn(browser, portal.base);
  const grace = await personIn(browser, portal.base);
  let token;

  await t.test("looks around without an account", async () => {
    await ada.goto("/");
    await ada.getByRole("link", { name: "See the models" }).click();
    await ada.getByRole("link", { name: OPEN_MODEL, exact: true }).click();
    await ada.getByRole("navigation", { name: "About this model" }).getByRole("link", { name: "Files" }).click();
    await ada.getByRole("rowheader", { name: "model.safetensors" }).waitFor();
  });

  await t.test("signs up and confirms the address", async () => {
    await signUp(portal, ada, "Ada Lovelace", "ada@canal.example");
    await ada.getByRole("button", { name: "Sign out" }).click();
    await signIn(ada, "ada@canal.example");
  });

  await t.test("applies: saves a draft, comes back, sends it", async () => {
    await ada.goto(`/${GATED_MODEL}`);
    await ada.getByRole("link", { name: "Apply for access" }).first().click();
    await ada.getByRole("heading", { level: 1, name: `Apply for ${GATED_MODEL}` }).waitFor();
    await look(ada, "journey-1-apply");

    await answer(ada, ANSWERS.slice(0, 4));
    await ada.getByRole("button", { name: "Save draft" }).click();
    await ada.goto(`/${GATED_MODEL}/apply`);
    assert.equal(await ada.getByLabel("Organisation", { exact: true }).inputValue(), "University of the Canal");
    await look(ada, "journey-2-draft");

    await ada.getByRole("button", { name: "Send application" }).click();
    await ada.getByRole("alert").waitFor();
    await look(ada, "journey-3-faults");

    await answer(ada, ANSWERS);
    await agree(ada);
    await ada.getByRole("button", { name: "Send application" }).click();
    await ada.getByRole("heading", { level: 1, name: "Application for" }).waitFor();
    await look(ada, "journey-4-sent");
    await portal.mailTo("ada@canal.example", /Do small models|received|application/i);
  });

  await t.test("a reviewer approves it with an end date", async () => {
    await addPerson(portal, "grace@lab.example", "Grace Hopper", "reviewer");
    await signIn(grace, "grace@lab.example");
    await grace.getByRole("link", { name: "Review", exact: true }).click();
    await grace.getByRole("link", { name: "Ada Lovelace" }).click();
    await grace.getByLabel("Access ends on").fill(inDays(60));
    await grace.getByRole("button", { name: "Approve" }).click();
    await grace.getByRole("status").waitFor();
  });

  await t.test("the applicant reads of it and makes a token", async () => {
    // Access holds at once; its mail waits ten minutes, because a decision may be taken back until then.
    await ada.goto("/applications");
    await look(ada, "journey-5-applications");
    await ada.getByRole("link", { name: GATED_MODEL }).last().click();
    await look(ada, "journey-6-approved");

    await ada.goto("/account/tokens");
    await ada.getByRole("textbox", { name: "Name" }).fill("laptop");
    await ada.getByRole("checkbox", { name: /^download/ }).check();
    await ada.getByRole("button", { name: "Make token" }).click();
    token = (await ada.getByLabel("The token").innerText()).trim();
    assert.match(token, /^slc_/);
  });

  await t.test("hf downloads the weights", async () => {
    assert.ok(existsSync(HF), `${HF} is missing: make test installs it`);
    const home = await mkdtemp(join(portal.folder, "hf-"));
    const weights = join(home, "weights");
    const environment = { ...process.env, HF_ENDPOINT: portal.base, HF_TOKEN: token, HF_HOME: home, HF_HUB_DISABLE_TELEMETRY: "1", HF_HUB_DISABLE_XET: "1" };
    await promisify(execFile)(HF, ["download", GATED_MODEL, "--local-dir", weights], { env: environment });
    const files = await readdir(weights);
    assert.ok(files.includes("config.json") && files.includes("model.safetensors"), files.join(", "));
    assert.ok((await stat(join(weights, "model.safetensors"))).size > 1_000_000);
    // The ledger is written when the last byte has left, which may be a moment after the client has it.
    await until("the download is in the ledger", 20_000, async () => {
      await ada.goto("/account/downloads");
      return (await ada.getByRole("row", { name: /model\.safetensors.*complete/ }).count()) > 0;
    });
    await look(ada, "journey-7-downloads");
  });

  await t.test("the model answers in the playground", async () => {
    await ada.goto(`/${GATED_MODEL}`);
    await look(ada, "journey-8-model");
    await ada.goto("/playground");
    await ada.getByLabel("Model", { exact: true }).selectOption(GATED_MODEL);
    await ada.getByLabel("Your text").fill("The water in the lock was");
    await ada.getByLabel("Most tokens to add").fill("48");
    await ada.getByRole("button", { name: "Continue the text" }).click();
    await ada.getByRole("status").filter({ hasText: /\d+ tokens? added/ }).waitFor();
    const written = await ada.getByLabel("Your text").inputValue();
    assert.ok(written.startsWith("The water in the lock was") && written.length > 40, written);
    await ada.getByText(/\d tokens\/s/).waitFor();
    await look(ada, "journey-9-playground");

    await slowly(ada, 2_000);
    await ada.getByLabel("Most tokens to add").fill("400");
    await ada.getByRole("button", { name: "Continue the text" }).click();
    await ada.getByRole("button", { name: "Stop" }).click();
    await ada.getByRole("status").filter({ hasText: /Stopped/ }).waitFor();
    await slowly(ada, -1);
  });

  assertCalm(ada, /422/);
  assertCalm(grace);
});
