// The pages in a real Chromium, on a real hub that was fed over OTLP.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import axe from 'axe-core';
import { crowd, EVIL, feed } from './feed.mjs';
import { loaded, openPage, startBrowser, startHub } from './hub.mjs';

const now = Math.floor(Date.now() / 10_000) * 10;
let hub;
let browser;
let stop;

before(async () => {
  const started = await startHub();
  ({ address: hub, stop } = started);
  await feed(hub, now);
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await stop?.();
});

/** Runs with a page, and says what went wrong on it at the end. */
async function on(path, look, options) {
  const one = await openPage(browser, hub, options);
  try {
    await one.visit(path);
    await look(one);
    assert.deepEqual(one.faults, [], path);
  } finally {
    await one.close();
  }
}

const api = async (question) => (await fetch(`${hub}/api/v1/${question}`)).json();
const pod = '/web/pod?namespace=shop&pod=web-1';

const PAGES = {
  cluster: ['/web', 'Cluster', ['shop/web-1', 'batch/job-1', 'db', 'node-2']],
  nodes: ['/web/node', 'Nodes', ['node-1', 'node-3']],
  node: ['/web/node?node=node-1', 'Node node-1', ['shop/db-0', 'vms/virt-launcher-db-x', 'qemu-kvm']],
  namespaces: ['/web/namespace', 'Namespaces', ['shop', 'kube-system']],
  namespace: ['/web/namespace?namespace=shop', 'Namespace shop', ['Deployment/web', 'shop/web-2']],
  pods: ['/web/pod', 'Pods', ['kube-system/proxy-1']],
  pod: [pod, 'Pod shop/web-1', ['nginx', '1001', 'Deployment/web', '≤ 1 ms', 'longer']],
  vms: ['/web/vm', 'VMs', ['db']],
  vm: ['/web/vm?namespace=vms&vm=db', 'VM db', ['job-1', 'emulator', 'vCPU 1', 'worker']],
  explore: ['/web/explore?metric=container.cpu.usage&by=namespace%2Cpod', 'Explore: container.cpu.usage', ['worth of time that the container used', 'web-2']],
  accounting: ['/web/accounting?period=span&by=namespace', 'Accounting', ['CPU, core-hours', 'shop', 'All']],
  agents: ['/web/agents', 'Agents', ['3 of 3', '2 of 3', 'kvm_exit', 'absent']],
  hub: ['/web/status', 'Hub', ['kept', 'duplicate', '1m']],
};

/** All parts that there are; their colours are looked at in both themes. */
const IN_THE_DARK = ['cluster', 'pod', 'explore', 'agents'];

// A page that waits for the hub leaves the processor to another one.
describe('pages', { concurrency: 2 }, () => {
  for (const [name, [path, title, texts]] of Object.entries(PAGES)) {
    test(`${name}: shows what was sent, and keeps to rules of access`, async () => {
      await on(path, async ({ page }) => {
        assert.equal(await page.textContent('h1'), title);
        const main = await page.innerText('main');
        for (const text of texts) assert.ok(main.includes(text), `${text} is not in: ${main}`);
        assert.equal(await page.locator('.fault').count(), 0);
        if (process.env.PODSCOPE_SCREENSHOTS) await page.screenshot({ path: `${process.env.PODSCOPE_SCREENSHOTS}/${name}.png`, fullPage: true });
        for (const colorScheme of IN_THE_DARK.includes(name) ? ['light', 'dark'] : ['light']) {
          await page.emulateMedia({ colorScheme });
          await loaded(page);
          await page.evaluate(axe.source);
          const { violations } = await page.evaluate(() => globalThis.axe.run());
          assert.deepEqual(violations.map(({ id, nodes }) => [colorScheme, id, nodes[0].html, nodes[0].failureSummary]), []);
        }
      });
    });
  }

  test('a chart has the values of the API', async () => {
    const [from, to] = [now - 300, now];
    await on(`${pod}&from=${from}&to=${to}`, async ({ page }) => {
      const answer = await api(`series?metric=container.cpu.time&by=container&namespace=shop&pod=web-1&from=${from}&to=${to}&step=10`);
      const values = answer.series[0].values;
      // A full step of the one container, which uses 1.25 CPUs.
      assert.ok(Math.abs(values[10] - 1.25) < 1e-9, String(values[10]));
      const figure = page.locator('section', { has: page.getByRole('heading', { name: 'CPU by container' }) }).locator('figure');
      const box = await figure.locator('.u-over').boundingBox();
      await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      await figure.locator('.u-legend').getByText('1.25').waitFor();
      await figure.getByText('As a table').click();
      await figure.locator('.table').waitFor();
      const cells = await figure.locator('.table tbody td').allTextContents();
      const shown = values.toReversed().map((value) => (value === null ? '–' : value.toFixed(2).replace('0.00', '0')));
      assert.deepEqual(cells, shown.slice(0, cells.length));
      assert.ok(cells.length >= 25, String(cells.length));
      const painted = await figure.locator('canvas').evaluate((canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
      });
      assert.ok(painted > 5, `${painted} colours`);
    });
  });

  test('the histogram is a heat map that is read by keyboard', async () => {
    await on(`${pod}&from=${now - 300}&to=${now}`, async ({ page }) => {
      const canvas = page.locator('.heatmap canvas');
      await canvas.focus();
      for (const key of ['ArrowDown', 'ArrowDown', 'ArrowLeft']) await canvas.press(key);
      // The third row from above is waits of up to 1 ms: 12 a second and CPU, 1.6 times, at 1.25 CPUs, for 10 s.
      assert.match(await page.innerText('.heatmap output'), /^≤ 1 ms, .*: 240$/);
    });
  });

  test('names are text, never markup', async () => {
    const query = new URLSearchParams({ namespace: EVIL.namespace, pod: EVIL.pod });
    const by = encodeURIComponent('namespace,pod,container,executable');
    for (const path of ['/web', '/web/node?node=node-3', `/web/namespace?${query}`, `/web/pod?${query}`,
      `/web/explore?metric=process.cpu.time&by=${by}`, '/web/accounting?period=span&by=pod',
      '/web/explore?metric=%3Cimg%20src%3Dx%20onerror%3Dwindow.hurt%3D1%3E', '/web/vm?vm=%3Csvg%20onload%3Dwindow.hurt%3D1%3E']) {
      await on(path, async ({ page }) => {
        assert.equal(await page.evaluate(() => window.hurt), undefined, path);
        assert.equal(await page.locator('main img, main svg, main script').count(), 0, path);
      });
    }
    await on('/web/pod', async ({ page }) => {
      await page.getByRole('link', { name: `${EVIL.namespace}/${EVIL.pod}` }).first().click();
      await page.getByRole('heading', { level: 1, name: `Pod ${EVIL.namespace}/${EVIL.pod}` }).waitFor();
      await loaded(page);
      assert.ok((await page.innerText('main')).includes(EVIL.executable));
      assert.equal(await page.evaluate(() => window.hurt), undefined);
    });
  });

  test('the address holds what is looked at, and the way back', async () => {
    await on('/web', async ({ page }) => {
      await page.locator('[name=span]').selectOption('Last hour');
      await loaded(page);
      await page.getByLabel('Namespace').fill('shop');
      await page.getByLabel('Namespace').press('Enter');
      await page.getByRole('heading', { level: 1, name: 'Cluster: shop' }).waitFor();
      await loaded(page);
      assert.equal(new URL(page.url()).search, '?from=-1h&namespace=shop');
      assert.ok(!(await page.innerText('main')).includes('batch/job-1'));
      await page.getByRole('link', { name: 'shop/web-1' }).first().click();
      await page.getByRole('heading', { level: 1, name: 'Pod shop/web-1' }).waitFor();
      assert.equal(new URL(page.url()).search, '?from=-1h&namespace=shop&pod=web-1');
      await page.goBack();
      await page.getByRole('heading', { level: 1, name: 'Cluster: shop' }).waitFor();
      await page.goBack();
      await page.getByRole('heading', { level: 1, name: 'Cluster', exact: true }).waitFor();
      await loaded(page);
      assert.ok((await page.innerText('main')).includes('batch/job-1'));
    });
  });

  test('dragging across a chart looks closer', async () => {
    await on('/web/node?node=node-1', async ({ page }) => {
      const box = await page.locator('.u-over').first().boundingBox();
      await page.mouse.move(box.x + box.width * 0.5, box.y + 50);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width * 0.75, box.y + 60, { steps: 4 });
      await page.mouse.up();
      await page.waitForURL(/from=\d+&to=\d+/);
      await loaded(page);
      const query = new URL(page.url()).searchParams;
      const span = Number(query.get('to')) - Number(query.get('from'));
      assert.ok(span > 120 && span < 300, String(span));
    });
  });

  test('everything is reached by keyboard', async () => {
    await on('/web/namespace', async ({ page }) => {
      await page.keyboard.press('Tab');
      assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to content');
      await page.keyboard.press('Enter');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
      const table = page.getByRole('table', { name: 'All namespaces' });
      const first = () => table.locator('tbody th').first().textContent();
      assert.equal(await first(), 'shop');
      await table.getByRole('button', { name: 'Namespace' }).focus();
      await page.keyboard.press('Enter');
      assert.equal(await table.locator('[aria-sort]').getAttribute('aria-sort'), 'ascending');
      await page.keyboard.press('Enter');
      assert.equal(await first(), 'vms');
      assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Namespace');
    });
  });

  test('dark is the system’s or chosen, and stays so', async () => {
    const light = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor === 'rgb(245, 246, 248)');
    await on('/web/status', async ({ page }) => {
      assert.equal(await light(page), false);
      await page.getByLabel('Theme').selectOption('Light');
      assert.equal(await light(page), true);
      await page.reload();
      await loaded(page);
      assert.equal(await light(page), true);
      await page.getByLabel('Theme').selectOption('System');
      assert.equal(await light(page), false);
    }, { colorScheme: 'dark' });
  });

  test('a fault is said, and is no end', async () => {
    const one = await openPage(browser, hub);
    const detail = 'the database does not answer';
    await one.page.route('**/api/v1/top?*', (route) => route.fulfill({ status: 503, json: { detail } }));
    await one.visit('/web/node');
    assert.equal(await one.page.getByRole('alert').textContent(), detail);
    await one.page.unroute('**/api/v1/top?*');
    await one.page.getByRole('button', { name: 'Refresh' }).click();
    await one.page.getByRole('link', { name: 'node-2' }).waitFor();
    assert.equal(await one.page.getByRole('alert').count(), 0);
    await one.close();
  });

  test('what is live follows', async () => {
    await on('/web/status', async ({ page }) => {
      const kept = () => page.getByRole('row', { name: /^kept/ }).locator('td').first();
      await page.clock.install();
      await page.reload();
      await loaded(page);
      await page.route('**/api/v1/status*', async (route) => {
        const answer = await (await route.fetch()).json();
        await route.fulfill({ json: { ...answer, points: { ...answer.points, kept: 7 } } });
      });
      await page.clock.runFor(61_000);
      await kept().getByText('7', { exact: true }).waitFor();
    });
  });

  test('older addresses lead to the pages', async () => {
    const leads = [
      ['/', '/web'], ['/web/', '/web'], ['/web/stats/', '/web'], ['/web/stats/index', '/web'],
      ['/web/stats/cpu/usage_rate', 'metric=container.cpu.usage'], ['/web/stats/memory/usage/shop', 'metric=container.memory.usage'],
      ['/web/stats/uptime', 'metric=container.uptime'], ['/web/stats/network/rx/shop', 'namespace=shop'],
    ];
    for (const [older, part] of leads) {
      const answer = await fetch(hub + older);
      assert.equal(answer.status, 200, older);
      assert.ok(answer.url.includes(part), `${older}: ${answer.url}`);
    }
  });

  test('a file that a browser has is not sent again', async () => {
    const first = await fetch(`${hub}/web/assets/uplot.js`);
    const tag = first.headers.get('etag');
    assert.match(tag, /^"[0-9a-f]{32}"$/);
    assert.match((await fetch(`${hub}/web`)).headers.get('content-security-policy'), /^default-src 'self';(?!.*unsafe)/);
    assert.equal((await fetch(`${hub}/web/assets/uplot.js`, { headers: { 'if-none-match': tag } })).status, 304);
    for (const missing of ['/web/nothing', '/web/assets/', '/web/assets/..%2f..%2f..%2fetc%2fpasswd']) {
      assert.equal((await fetch(hub + missing)).status, 404, missing);
    }
  });

  test('accounting is that of the API, also as CSV', async () => {
    await on(`/web/accounting?period=span&from=${now - 300}&to=${now}`, async ({ page }) => {
      const { rows } = await api(`accounting?from=${now - 300}&to=${now}`);
      const shop = rows.find(({ labels }) => labels.namespace === 'shop').used.cpu_core_seconds;
      assert.ok(Math.abs(shop - 2.55 * 300) < 0.01 * shop, String(shop));
      const row = page.getByRole('row', { name: /^shop/ });
      assert.equal(await row.locator('td').first().textContent(), `${Number((shop / 3600).toPrecision(3))}`);
      const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download as CSV' }).click()]);
      const csv = await readFile(await download.path(), 'utf8');
      assert.equal(download.suggestedFilename(), 'podscope-span-namespace.csv');
      assert.ok(csv.includes(`\r\nshop,${shop},`), csv);
    });
  });
});

test('a thousand pods are a page of 25', async () => {
  await crowd(hub, now);
  const begin = performance.now();
  await on('/web/pod', async ({ page }) => {
    const took = performance.now() - begin;
    const table = page.getByRole('table', { name: 'All pods' });
    assert.equal(await table.locator('tbody tr').count(), 25);
    await page.getByText(/^1–25 of 1\d{3}$/).waitFor();
    await page.getByLabel('Search').fill('pod-77');
    assert.equal(await table.locator('tbody tr').count(), 11);
    await page.getByLabel('Search').fill('');
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText(/^26–50 of/).waitFor();
    // A program without optimisation on a busy machine.
    assert.ok(took < 8_000, `${took} ms`);
  });
});

test('vendored files are those that their page names', async () => {
  const folder = new URL('../vendor/', import.meta.url);
  const sums = [...(await readFile(new URL('README.md', folder), 'utf8')).matchAll(/^\| `([^`]+)` \| `([0-9a-f]{64})` \|/gm)];
  assert.equal(sums.length, 3);
  for (const [, name, sum] of sums) {
    assert.equal(createHash('sha256').update(await readFile(new URL(name, folder))).digest('hex'), sum, name);
  }
});
