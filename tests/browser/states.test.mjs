// What the pages say in states that take somebody else's act, or time, to come about: each is looked at (browser.mjs says for what).

import assert from "node:assert/strict";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { assertCalm, launch, look, personIn } from "./browser.mjs";
import { GATED_MODEL, addPerson, apply, signIn } from "./people.mjs";
import { Portal, until } from "./portal.mjs";

const JOB_WAIT_MS = 20_000;
let portal, browser, root, grace;

before(async () => {
  [portal, browser] = [await Portal.start(), await launch()];
  root = await known("root@lab.example", "Root", "admin");
  grace = await known("grace@lab.example", "Grace Hopper", "reviewer");
});
after(async () => {
  await browser?.close();
  await portal?.stop();
});

async function known(email, name, role = "researcher") {
  await addPerson(portal, email, name, role);
  const page = await personIn(browser, portal.base);
  await signIn(page, email);
  return page;
}

async function visit(page, path, name, status = 200) {
  assert.equal((await page.goto(path)).status(), status, path);
  await look(page, name);
}

// Presses a button, and sees that something was done.
async function does(page, button) {
  await page.getByRole("button", { name: button, exact: true }).first().click();
  await page.getByRole("status").first().waitFor();
}

// Applies; returns the paths of the application and of the case.
async function applied(page) {
  await apply(page, GATED_MODEL);
  const application = new URL(page.url()).pathname;
  return [application, application.replace("/applications/", "/review/")];
}

// Gives access for so many days; returns the path of the grant.
async function granted(page, email, days) {
  await portal.sluice(["grant", "add", email, GATED_MODEL, "--days", `${days}`, "--reason", "replication, agreed by mail"]);
  await page.goto("/applications");
  return page.locator("a[href^='/grants/']:not([href$='/consent'])").first().getAttribute("href");
}

async function declines(page, path) {
  await page.goto(path);
  await page.getByLabel("Reason", { exact: true }).selectOption({ index: 1 });
  await page.getByLabel("Message to the applicant").fill("Please say which corpus you compare with.");
  await page.getByRole("button", { name: "Decline", exact: true }).click();
  await page.getByRole("button", { name: "Take it back" }).waitFor();
}

async function asksForRenewal(page, grant) {
  await page.goto(grant);
  await page.getByLabel("What you used it for").fill("We counted how many lines of verse each model repeats; the small ones repeat few.");
  await does(page, "Ask for a renewal");
}

// Grace opens the renewal that waits.
async function renewalOf(name) {
  await grace.goto("/review/renewals");
  await grace.getByRole("link", { name, exact: true }).click();
  return new URL(grace.url()).pathname;
}

test("an appeal waits, and an application that was withdrawn", async () => {
  const [anna, cora] = [await known("anna@canal.example", "Anna"), await known("cora@canal.example", "Cora")];
  const [application, path] = await applied(anna);
  await declines(grace, path);
  await anna.goto(application);
  await anna.getByText("Appeal to another reviewer").click();
  await anna.getByLabel("What was overlooked").fill("My profile page names the department.");
  await anna.getByRole("button", { name: "Appeal" }).click();
  await anna.getByText("You appealed").waitFor();
  await visit(anna, application, "application-appealed");
  const [withdrawn, withdrawnCase] = await applied(cora);
  await cora.goto(withdrawn);
  await cora.locator("summary").filter({ hasText: "Withdraw" }).click();
  await does(cora, "Yes, withdraw it");
  await visit(grace, withdrawnCase, "case-withdrawn");
  assertCalm(anna);
  assertCalm(cora);
});

test("several at once, before it is done", async () => {
  for (const [email, name] of [["liv@canal.example", "Liv"], ["siv@uni.edu", "Siv"]]) await applied(await known(email, name));
  for (const action of ["Claim", "Release", "Decline"]) {
    await grace.goto("/review");
    for (const name of ["Liv", "Siv"]) await grace.getByRole("checkbox", { name }).check();
    await grace.getByRole("button", { name: `${action}…` }).click();
    await grace.getByText("This is what would happen.").waitFor();
    await look(grace, `bulk-${action.toLowerCase()}`);
    if (action === "Claim") await grace.getByRole("button", { name: "Claim 2" }).click();
  }
  await grace.getByRole("button", { name: "Decline 2" }).click();
  await grace.locator("[aria-invalid=true]").first().waitFor();
  await look(grace, "bulk-decline-fault");
  assertCalm(grace, /422/);
});

test("access that something stands against, and who is blocked", async () => {
  const sina = await known("sina@canal.example", "Sina");
  const grant = await granted(sina, "sina@canal.example", 90);
  const [model, form, desk] = [`/${GATED_MODEL}`, `/${GATED_MODEL}/apply`, grant.replace("/grants/", "/admin/grants/")];
  const seen = async (state, instead = 200) => {
    await visit(sina, grant, `grant-${state}`);
    await visit(sina, model, `model-${state}`);
    await visit(sina, form, `apply-${state}`, instead);
  };
  await visit(sina, form, "apply-granted");
  await root.goto(desk);
  await root.getByLabel("Reason for suspending").fill("A token of theirs was seen in a public repository.");
  await does(root, "Suspend access");
  await seen("suspended");
  await does(root, "Reinstate");

  await root.goto("/admin/models");
  await root.getByRole("link", { name: `Releases of ${GATED_MODEL}`, exact: true }).click();
  await root.getByRole("checkbox", { name: /Revoking takes two people/ }).check();
  await does(root, "Save the rules");
  await root.goto(desk);
  await root.getByLabel("Reason for revoking").fill("The weights were seen on a public server.");
  await does(root, "Propose to revoke");
  await seen("revocation-proposed");
  await grace.goto(desk);
  await does(grace, "Reject the proposal");

  await root.goto("/admin/models");
  await root.getByRole("link", { name: `Releases of ${GATED_MODEL}`, exact: true }).click();
  await root.getByLabel("Days to agree").fill("0");
  await does(root, "Ask holders to agree");
  await seen("resting");

  await root.goto(desk);
  await root.getByRole("heading", { level: 1 }).getByRole("link").first().click();
  await root.getByLabel("Reason").fill("Answered a reviewer's questions with insults, and was told to stop.");
  await does(root, "Block");
  await seen("blocked", 403);

  const bela = await known("bela@canal.example", "Bela");
  await root.goto("/admin/people?q=bela");
  await root.getByRole("link", { name: "Bela", exact: true }).click();
  await root.getByLabel("Reason").fill("Answered a reviewer's questions with insults, and was told to stop.");
  await does(root, "Block");
  await visit(bela, model, "model-blocked-applicant");
  await visit(bela, form, "apply-blocked-applicant", 403);
  for (const page of [sina, bela, root]) assertCalm(page, /403|409/);
});

test("renewals that came to nothing, and what time closes", async () => {
  const rena = await known("rena@canal.example", "Rena");
  const grant = await granted(rena, "rena@canal.example", 40);
  await asksForRenewal(rena, grant);
  const declined = await renewalOf("Rena");
  await grace.getByLabel("Message to the holder").fill("Say what you found; two lines are enough.");
  await does(grace, "Decline the renewal");
  await visit(grace, declined, "renewal-declined");
  await visit(rena, grant, "grant-renewal-declined");
  await asksForRenewal(rena, grant);
  const withdrawn = await renewalOf("Rena");
  await rena.goto(grant);
  await does(rena, "Withdraw the request");
  await visit(rena, grant, "grant-renewal-withdrawn");
  await visit(grace, withdrawn, "renewal-withdrawn");
  await asksForRenewal(rena, grant);
  const lapsed = await renewalOf("Rena");

  const [lena, otto] = [await known("lena@canal.example", "Lena"), await known("otto@canal.example", "Otto")];
  const [left, leftCase] = await applied(lena);
  await grace.goto(leftCase);
  await grace.locator("summary").filter({ hasText: "Ask for changes" }).click();
  await grace.getByLabel("What should be changed").fill("Which corpus do you compare with?");
  await does(grace, "Send it back");
  const [late, lateCase] = await applied(otto);

  for (const [email, days] of [["rena@canal.example", 140], ["lena@canal.example", 400], ["otto@canal.example", 30]]) await portal.letDaysPass(email, days);
  await portal.restart();
  await until("the renewal has lapsed", JOB_WAIT_MS, async () => (await grace.goto(lapsed)) && (await grace.getByText("Lapsed").count()) > 0);
  await until("the application has lapsed", JOB_WAIT_MS, async () => (await lena.goto(left)) && (await lena.getByText("Lapsed").count()) > 0);
  await visit(grace, lapsed, "renewal-lapsed");
  await visit(rena, grant, "grant-renewal-lapsed");
  await visit(lena, left, "application-lapsed");
  await visit(grace, leftCase, "case-lapsed");
  await visit(otto, late, "application-overdue");
  await visit(grace, "/review?view=overdue", "review-overdue");
  await visit(grace, lateCase, "case-overdue");
  for (const page of [rena, lena, otto, grace]) assertCalm(page, /422/);
});

test("somebody who was erased", async () => {
  await known("eras@canal.example", "Eras");
  await root.goto("/admin/people?q=eras");
  await root.getByRole("link", { name: "Eras", exact: true }).click();
  const person = new URL(root.url()).pathname;
  await root.getByRole("link", { name: "Erase this person" }).click();
  await root.getByLabel("The address of the account").fill("eras@canal.example");
  await does(root, "Erase this person");
  await visit(root, person, "admin-person-erased");
  assert.equal(await root.getByRole("button", { name: "Block" }).count(), 0, "nobody is left to be blocked");
  assertCalm(root);
});

test("a record that cannot go on, and goes on", async () => {
  const folder = join(portal.environment.SLUICE_DATA_DIR, "audit/tile");
  await rename(folder, `${folder}.away`);
  await writeFile(folder, "no folder");
  try {
    // Something to be recorded.
    await root.goto("/account/tokens");
    await root.getByRole("textbox", { name: "Name" }).fill("laptop");
    await root.getByRole("button", { name: "Make token" }).click();
    await root.getByLabel("The token").waitFor();
    await until("the record has stopped", JOB_WAIT_MS, async () => (await root.goto("/admin/jobs")) && (await root.getByText("stopped", { exact: true }).count()) > 0);
    await look(root, "admin-jobs-fault");
  } finally {
    await rm(folder);
    await rename(`${folder}.away`, folder);
  }
  await until("the record goes on", JOB_WAIT_MS, async () => (await root.goto("/admin/jobs")) && (await root.getByText("stopped", { exact: true }).count()) === 0);
  assertCalm(root);
});
