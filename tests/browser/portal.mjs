// The real program on a data folder of its own with a private PostgreSQL: started, spoken to, stopped.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const ROOT = resolve(fileURLToPath(new URL("../..", import.meta.url)));
const BINARY = process.env.SLUICE_BIN ?? join(ROOT, "target/debug/sluice");
const READY_WAIT_MS = 90_000;
const MAIL_WAIT_MS = 20_000;

export class Portal {
  // Starts a portal and waits until it answers.
  static async start() {
    const folder = await mkdtemp(join(tmpdir(), "sluice-browser-"));
    // The account that runs PostgreSQL, when that is not ours, has to pass through.
    await chmod(folder, 0o711);
    const portal = new Portal(folder, await freePort());
    await portal.#serve();
    return portal;
  }

  constructor(folder, port) {
    this.folder = folder;
    this.base = `http://127.0.0.1:${port}`;
    this.said = "";
    this.log = "";
    const { DATABASE_URL: _, SLUICE_PUBLIC_URL: __, SLUICE_SMTP_URL: ___, ...rest } = process.env;
    this.environment = {
      ...rest,
      SLUICE_DATA_DIR: join(folder, "data"),
      SLUICE_LISTEN: `127.0.0.1:${port}`,
      SLUICE_ENGINE_MEMORY_BYTES: "1000000000",
    };
  }

  async #serve() {
    this.process = spawn(BINARY, ["serve"], { env: this.environment, stdio: ["ignore", "pipe", "pipe"] });
    this.ended = once(this.process, "exit");
    this.process.stdout.on("data", (words) => (this.said += words));
    this.process.stderr.on("data", (words) => (this.log += words));
    this.process.on("error", (error) => (this.log += error));
    await until(`the portal is ready`, READY_WAIT_MS, async () => {
      if (this.process.exitCode !== null || this.process.pid === undefined) throw new Error(`the portal ended: ${this.log}`);
      const answer = await fetch(`${this.base}/readyz`).catch(() => null);
      return answer?.ok && this.said.includes("Stop with Ctrl-C");
    });
  }

  // The one-time link that the first start prints for the admin.
  get adminLink() {
    const link = this.said.match(/https?:\/\/\S+\/sign-in\/\S+/);
    if (!link) throw new Error(`no sign-in link in: ${this.said}`);
    return link[0];
  }

  // Runs `sluice …` on the same data; returns what it printed on stdout.
  async sluice(words, stdin = "") {
    const running = promisify(execFile)(BINARY, words, { env: this.environment });
    running.child.stdin.end(stdin);
    return (await running).stdout.trim();
  }

  // Lets so many days have passed for what this person has applied for, holds and has asked for.
  async letDaysPass(email, days) {
    await promisify(execFile)(join(dirname(BINARY), "let-days-pass"), [this.environment.SLUICE_DATA_DIR, email, `${days}`], { env: this.environment });
  }

  // Waits for a mail to `address` whose subject or text matches, and returns its text.
  async mailTo(address, pattern) {
    const folder = join(this.environment.SLUICE_DATA_DIR, "mail");
    return until(`a mail to ${address} that matches ${pattern}`, MAIL_WAIT_MS, async () => {
      for (const name of await readdir(folder).catch(() => [])) {
        const mail = decoded(await readFile(join(folder, name), "utf8"));
        if (mail.includes(`To: ${address}`) && pattern.test(mail)) return mail;
      }
      return null;
    });
  }

  // Ends it as an operator does, and starts it again: what it does every now and then it does at once.
  async restart() {
    await this.#end();
    this.said = "";
    await this.#serve();
  }

  // Ends it as an operator does, and removes its data.
  async stop() {
    await this.#end().finally(() => rm(this.folder, { recursive: true, force: true }));
  }

  async #end() {
    if (this.process.exitCode === null) this.process.kill("SIGTERM");
    const [status] = await this.ended;
    if (status !== 0) throw new Error(`the portal ended with status ${status}: ${this.log}`);
  }
}

// The first address in a mail that leads to the portal.
export function linkIn(mail) {
  return mail.match(/https?:\/\/\S+/)[0];
}

// Headers and body in plain text: the first of several parts, quoted-printable and base64 undone.
function decoded(mail) {
  const [head, ...rest] = mail.split(/\r?\n\r?\n/);
  const body = rest.join("\n\n");
  const boundary = head.match(/^content-type: multipart\/alternative;\s+boundary="([^"]+)"/im)?.[1];
  if (boundary) return `${head}\n\n${decoded(body.split(`--${boundary}`)[1].trimStart())}`;
  if (/^content-transfer-encoding: base64/im.test(head)) return `${head}\n\n${Buffer.from(body, "base64").toString("utf8")}`;
  if (!/^content-transfer-encoding: quoted-printable/im.test(head)) return mail;
  const bytes = body.replace(/=\r?\n/g, "").replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return `${head}\n\n${Buffer.from(bytes, "latin1").toString("utf8")}`;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

// Asks again until the answer is something; says what it waited for when it never is.
export async function until(what, wait_ms, ask) {
  const end = Date.now() + wait_ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${wait_ms} ms until ${what}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}
