// A browser that reaches nothing but one server, and a test that fails for whatever goes wrong in a page.
//
// CHROMIUM is the browser, where it is not Debian's. With SCREENSHOTS, each test leaves a picture in that folder.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { test } from "node:test";
import { chromium } from "playwright-core";

const pictures = process.env.SCREENSHOTS;

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 360, height: 740 };

export function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

export function launch(server) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", // it refuses to run as root with one
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // No name leads anywhere, whoever in the browser asks.
      `--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE ${new URL(server).hostname}`,
    ],
  });
}

/** Leaves a picture of a page, where pictures are wanted. */
export async function picture(page, name) {
  if (!pictures) return;
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: `${pictures}/${name.replaceAll(/\W+/g, "-")}.png` });
}

/**
 * A test with a page of its own, in a fresh profile, with `path` loaded. Whatever goes wrong in the page fails it, but for
 * the answers that it says it will provoke (as `401 PATCH /posts/{id}`).
 */
export function inBrowser(name, { browser, server, path, viewport = DESKTOP, colorScheme, timeout = 120_000, prepare, refusals = [] }, body) {
  test(name, { timeout }, async (run) => {
    const context = await browser().newContext({ viewport, colorScheme });
    try {
      const faults = await watch(context, server);
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      await prepare?.(page);
      try {
        await page.goto(server + path);
        await body(page);
      } catch (error) {
        run.diagnostic(`seen in the page: ${JSON.stringify(faults)}`);
        throw error;
      } finally {
        await picture(page, name).catch((error) => run.diagnostic(`no picture: ${error.message}`));
      }
      assert.deepEqual(faults, refusals);
    } finally {
      await context.close();
    }
  });
}

/** A URL's path, whatever the id in it. */
const pathOf = (url) => new URL(url).pathname.replace(/\/\d+$/, "/{id}");

/** Cuts the network but for the server, and collects all that goes wrong. */
async function watch(context, server) {
  const faults = [];
  const isOwn = (url) => new URL(url).origin === server;
  await context.route(
    (url) => url.protocol !== "data:" && url.origin !== server,
    (route) => route.abort(),
  );
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy violation: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  context.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith("data:") && !isOwn(url)) faults.push(`request elsewhere: ${url}`);
  });
  context.on("requestfailed", (request) => {
    // What the page itself called off, since somebody went on typing, is no fault.
    const reason = request.failure()?.errorText;
    if (reason !== "net::ERR_ABORTED") faults.push(`failed: ${request.method()} ${pathOf(request.url())} ${reason}`);
  });
  context.on("response", (response) => {
    if (response.status() >= 400) faults.push(`${response.status()} ${response.request().method()} ${pathOf(response.url())}`);
  });
  context.on("console", (message) => {
    // Of a refusal the browser's words say less than the answer itself, which is counted above.
    const refusal = message.text().startsWith("Failed to load resource: ");
    if (["error", "warning", "assert"].includes(message.type()) && !refusal) {
      faults.push(`console ${message.type()}: ${message.text()}`);
    }
  });
  context.on("weberror", (error) => faults.push(`exception: ${error.error()}`));
  context.on("dialog", async (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  return faults;
}
