// Logging in and out in a real Chromium, on a hub that asks who one is.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import axe from 'axe-core';
import { loaded, openPage, startBrowser, startHub } from './hub.mjs';

const ANN = { name: 'ann', password: 'correct horse battery' };
const IDLE = 3;
let hub;
let browser;

before(async () => {
  hub = await startHub(['--session-idle', `${IDLE}s`]);
  hub.addUser(ANN.name, ANN.password);
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await hub?.stop();
});

async function logIn(page, { name, password }) {
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
}

test('one logs in, comes to the page that was asked for, and logs out', async () => {
  const { page, faults, close } = await openPage(browser, hub.address);
  await page.goto(`${hub.address}/web/pod?namespace=shop&pod=web-1`);
  await page.getByRole('heading', { name: 'Log in' }).waitFor();
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes[0].html]), []);
  }
  if (process.env.PODSCOPE_SCREENSHOTS) await page.screenshot({ path: `${process.env.PODSCOPE_SCREENSHOTS}/login.png` });
  await logIn(page, ANN);
  await page.getByRole('heading', { level: 1, name: 'Pod shop/web-1' }).waitFor();
  assert.equal(new URL(page.url()).search, '?namespace=shop&pod=web-1');
  await loaded(page);
  assert.deepEqual(faults, []);
  await page.getByText(ANN.name, { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.waitForURL('**/web/login');
  await page.goto(`${hub.address}/web`);
  await page.getByRole('button', { name: 'Log in' }).waitFor();
  await close();
});

test('a wrong password is said, and lets nobody in', async () => {
  const { page, close } = await openPage(browser, hub.address);
  await page.goto(`${hub.address}/web`);
  await logIn(page, { ...ANN, password: 'wrong horse battery' });
  assert.match(await page.getByRole('alert').textContent(), /password/i);
  await page.goto(`${hub.address}/web`);
  await page.getByRole('button', { name: 'Log in' }).waitFor();
  await close();
});

test('a page whose session has ended leads to the login, and back', async () => {
  const { page, close } = await openPage(browser, hub.address);
  await page.goto(`${hub.address}/web/status?live=off`);
  await logIn(page, ANN);
  await loaded(page);
  await page.waitForTimeout(1_000 * (IDLE + 1.5));
  await page.getByRole('button', { name: 'Refresh' }).click();
  await page.getByRole('button', { name: 'Log in' }).waitFor();
  await logIn(page, ANN);
  await page.getByRole('heading', { level: 1, name: 'Hub' }).waitFor();
  await close();
});
