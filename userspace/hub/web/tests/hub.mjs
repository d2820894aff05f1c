// A hub on an empty database, and a Chromium that may talk to nobody else.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/** Starts the program that `PODSCOPE_HUB` names, without login unless `flags` has others, and says its address. */
export async function startHub(flags = ['--open']) {
  const program = process.env.PODSCOPE_HUB ?? 'target/debug/podscope-hub';
  const folder = await mkdtemp(join(tmpdir(), 'podscope-pages-'));
  const database = ['--database-url', `sqlite:${join(folder, 'hub.db')}`];
  const child = spawn(program, ['serve', '--listen', '127.0.0.1:0', ...database, ...flags]);
  const address = await new Promise((resolve, reject) => {
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
      const found = /listening on.*?(127\.0\.0\.1:\d+)/.exec(said);
      if (found) resolve(`http://${found[1]}`);
    });
    child.on('error', (error) => reject(new Error(`cannot start ${program}: ${error.message}`)));
    child.on('exit', (code) => reject(new Error(`${program} ended with ${code}: ${said}`)));
  });
  const stop = async () => {
    child.removeAllListeners('exit');
    child.kill();
    await rm(folder, { recursive: true });
  };
  /** Lets somebody in. */
  const addUser = (name, password) => execFileSync(program, ['user', 'add', name, ...database], { input: `${password}\n` });
  return { address, addUser, stop };
}

export const startBrowser = () => chromium.launch({ executablePath: process.env.PODSCOPE_CHROMIUM ?? '/usr/bin/chromium' });

/** A fresh page, and what went wrong on it: errors of scripts, of the policy, and requests to another host. */
export async function openPage(browser, hub, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, timezoneId: 'UTC', locale: 'en-GB', ...options });
  const page = await context.newPage();
  const faults = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && faults.push(message.text()));
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('request', (request) => !request.url().startsWith(hub) && faults.push(`a request to ${request.url()}`));
  page.setDefaultTimeout(10_000);
  const visit = async (path) => {
    await page.goto(hub + path);
    await loaded(page);
  };
  return { page, faults, visit, close: () => context.close() };
}

/** Waits until every panel shows what it loaded. */
export async function loaded(page) {
  await page.waitForSelector('h1');
  await page.waitForFunction(() => document.querySelector('section.panel') && !document.querySelector('[aria-busy="true"]'));
}
