// The page as a person uses it, in a real browser: ask → citation → verify, filters, as of, runs, releases, data, SQL,
// docs; in light, dark and phone width. Fails on any console error, page error or failed request.
//
//   node tests/e2e/web/page_test.mjs http://127.0.0.1:8501 [--screenshots FOLDER] [--chromium /usr/bin/chromium]
//
// The server must have at least one release that can answer "What is the financial outlook?".
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(new URL('../../../web/package.json', import.meta.url));
const { chromium } = require('playwright-core');

const [base, ...rest] = process.argv.slice(2);
if (!base) {
    console.error('usage: node page_test.mjs BASE_URL [--screenshots FOLDER] [--chromium PATH]');
    process.exit(2);
}
const option = (name, fallback) => (rest.includes(name) ? rest[rest.indexOf(name) + 1] : fallback);
const folder = option('--screenshots', '');
if (folder) mkdirSync(folder, { recursive: true });

const browser = await chromium.launch({
    executablePath: option('--chromium', '/usr/bin/chromium'),
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
let passed = 0;
let failed = 0;

async function scenario(name, settings, steps) {
    const context = await browser.newContext({ viewport: { width: 1360, height: 860 }, acceptDownloads: true, reducedMotion: 'reduce', ...settings });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    const troubles = [];
    const expected = [];
    page.on('console', (message) => {
        if (message.type() !== 'error' && message.type() !== 'warning') return;
        if (expected.some((pattern) => pattern.test(message.text()))) return;
        troubles.push(`console: ${message.text()}`);
    });
    page.on('pageerror', (error) => troubles.push(`page: ${error.message}`));
    const shot = async (label) => {
        if (folder) await page.screenshot({ path: join(folder, `${name}-${label}.png`) });
    };
    try {
        await steps(page, shot, expected);
        assert.deepEqual(troubles, []);
        passed += 1;
        console.log(`ok   ${name}`);
    } catch (error) {
        failed += 1;
        await shot('failed').catch(() => {});
        console.log(`FAIL ${name}: ${error.message}${troubles.length > 0 ? `\n     ${troubles.join('\n     ')}` : ''}`);
    } finally {
        await context.close();
    }
}

async function ask(page, question) {
    const turns = await page.locator('.turn').count();
    await page.fill('#question', question);
    await page.press('#question', 'Enter');
    await page.locator('.turn').nth(turns).locator('.answer-footer').waitFor();
    return page.locator('.turn').nth(turns);
}

async function noOverflow(page) {
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wide <= 0, `the page is ${wide} pixels wider than the window`);
}

async function citeAndVerify(page, shot) {
    await page.goto(base);
    await page.locator('.status-good').waitFor({ state: 'attached' });
    await page.locator('.suggestion').first().waitFor();
    await shot('1-welcome');
    await noOverflow(page);
    await page.getByRole('button', { name: 'What is the financial outlook?' }).click();
    const turn = page.locator('.turn').first();
    await turn.locator('.answer-footer').waitFor();
    assert.ok((await turn.locator('.answer-text .sentence').count()) >= 1, 'no sentence in the answer');
    const chips = turn.locator('.chip');
    assert.ok((await chips.count()) >= 1, 'no citation in the answer');
    assert.match(await turn.locator('.answer-footer').innerText(), /Release \d+/);
    await shot('2-answer');
    await noOverflow(page);

    await chips.first().click();
    const panel = page.locator('#panel');
    await panel.locator('mark').waitFor();
    const marked = (await panel.locator('mark').innerText()).replaceAll(/\s+/g, ' ').trim();
    const sentence = (await turn.locator('.sentence').first().innerText()).replaceAll(/\s+/g, ' ');
    assert.ok(marked.length > 0 && (sentence.includes(marked) || marked.includes(sentence.slice(0, 20))), `marked "${marked}" for "${sentence}"`);
    assert.match(await panel.locator('.facts').innerText(), /[0-9a-f]{64}/);
    await panel.getByRole('button', { name: 'Verify' }).click();
    await panel.locator('.verdict-good').waitFor();
    assert.ok((await panel.locator('.steps .passed').count()) >= 3, 'fewer than three steps of verification');
    assert.equal(await panel.locator('.steps .failed').count(), 0);
    await page.waitForTimeout(150);
    await shot('3-verified');
    await noOverflow(page);
    await page.keyboard.press('Escape');
    await panel.waitFor({ state: 'hidden' });
    assert.equal(await page.evaluate(() => document.activeElement?.className.includes('chip')), true, 'the focus does not return to the citation');
}

async function otherViews(page, shot) {
    await page.goto(`${base}/#/runs`);
    await page.locator('#view-runs .row').first().waitFor();
    await shot('4-runs');
    await page.locator('#view-runs .row:has(.badge-published) summary').first().click();
    await page.locator('#view-runs .row-detail section').first().waitFor();
    await noOverflow(page);
    await shot('5-run');

    await page.click('#nav-releases');
    await page.locator('#view-releases .card').first().waitFor();
    await shot('6-releases');
    await noOverflow(page);

    await page.click('#nav-data');
    await page.locator('#tables-body .row').first().waitFor();
    await page.locator('#quarantine-body .grid, #quarantine-body .state').first().waitFor();
    await page.locator('#tables-body summary').first().click();
    await shot('7-data');
    await noOverflow(page);

    await page.click('#nav-sql');
    await page.press('#sql', 'Control+Enter');
    await page.locator('#sql-result .grid').waitFor();
    await shot('8-sql');
    await noOverflow(page);
}

try {
    await scenario('light', { colorScheme: 'light' }, async (page, shot) => {
        await citeAndVerify(page, shot);
        await otherViews(page, shot);
    });
    await scenario('dark', { colorScheme: 'dark' }, async (page, shot) => {
        await citeAndVerify(page, shot);
        await otherViews(page, shot);
    });
    await scenario('phone', { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }, async (page, shot) => {
        await citeAndVerify(page, shot);
        await otherViews(page, shot);
    });

    await scenario('filters', {}, async (page, shot) => {
        await page.goto(base);
        await page.click('#filter-toggle');
        await page.locator('#filter-author option').nth(1).waitFor({ state: 'attached' });
        const author = await page.locator('#filter-author option').nth(1).getAttribute('value');
        await page.selectOption('#filter-author', author);
        await page.fill('#filter-to', '1990-12-31');
        const turn = await ask(page, 'What is the financial outlook?');
        assert.match(await turn.locator('.answer-scope').innerText(), /by .* to 31 Dec 1990/);
        await turn.locator('.not-found').waitFor();
        await shot('1-not-in-the-sources');
        await page.click('#filter-clear');
        assert.equal(await page.inputValue('#filter-to'), '');
        await page.selectOption('#filter-author', author);
        const other = await ask(page, 'What is the financial outlook?');
        const seen = await other.locator('.source-meta').allInnerTexts();
        for (const text of seen) assert.ok(text.includes(author), `${text} is not by ${author}`);
    });

    await scenario('constraints', {}, async (page, shot) => {
        await page.goto(base);
        const author = await page.locator('#filter-author option').nth(1).getAttribute('value', { timeout: 10000 });
        const turn = await ask(page, `What does ${author} say about the financial outlook?`);
        const chip = turn.locator('.constraint');
        assert.match(await chip.innerText(), new RegExp(`by ${author}`));
        await shot('1-constraint');
        await chip.click();
        const again = page.locator('.turn').nth(1);
        await again.locator('.answer-footer').waitFor();
        assert.equal(await again.locator('.constraint').count(), 0);
    });

    await scenario('asked-again', {}, async (page) => {
        const bodies = [];
        page.on('request', (request) => {
            if (request.url().endsWith('/v1/ask')) bodies.push(request.postDataJSON());
        });
        await page.goto(base);
        const author = await page.locator('#filter-author option').nth(1).getAttribute('value', { timeout: 10000 });
        await ask(page, 'What is the financial outlook?');
        await page.click('#filter-toggle');
        await page.fill('#filter-to', '2199-12-31');
        const turn = await ask(page, `And what does ${author} say?`);
        await page.click('#filter-clear');
        await turn.locator('.constraint').click();
        await page.locator('.turn').nth(2).locator('.answer-footer').waitFor();
        const [, first, again] = bodies;
        assert.deepEqual(first.history, ['What is the financial outlook?']);
        assert.ok(again.without.length > 0);
        // The same question in the same place: neither its own rewriting nor what the fields say by now.
        assert.deepEqual({ ...again, without: undefined }, { ...first, without: undefined });
        assert.match(await page.locator('.turn').nth(2).locator('.answer-scope').innerText(), /to 31 Dec 2199/);
    });

    await scenario('withheld-counts', {}, async (page, shot) => {
        const withheld = ['file_count', 'size_bytes', 'row_count', 'documents', 'chunks', 'points'];
        const hide = (value) => {
            if (value === null || typeof value !== 'object') return;
            for (const key of Object.keys(value)) {
                if (withheld.includes(key) && typeof value[key] === 'number') value[key] = null;
                else if (key !== 'tables' || Array.isArray(value[key])) hide(value[key]);
            }
        };
        await page.route(/\/v1\/(releases|tables)|\/health/, async (route) => {
            try {
                const response = await route.fetch();
                const json = await response.json();
                hide(json);
                await route.fulfill({ response, json });
            } catch {
                // The page is closed already.
            }
        });
        await page.goto(`${base}/#/releases`);
        await page.locator('#view-releases .card').first().waitFor();
        await page.locator('.status-good').waitFor();
        await page.click('#nav-data');
        await page.locator('#tables-body .row').first().waitFor();
        await shot('1-data');
        for (const name of ['#nav-releases', '#nav-data']) {
            await page.click(name);
            const text = `${await page.locator('body').innerText()} ${await page.locator('#status').getAttribute('title')}`;
            assert.equal(text.match(/.{0,40}(null|NaN|undefined).{0,20}/)?.[0] ?? '', '');
        }
    });

    await scenario('as-of', {}, async (page, shot) => {
        await page.goto(`${base}/#/releases`);
        const cards = page.locator('#view-releases .card');
        await cards.first().waitFor();
        const oldest = await cards.last().locator('h3').innerText();
        if ((await cards.count()) > 1) {
            await cards.last().getByRole('button').click();
            await page.locator('#as-of-banner').waitFor();
            const turn = await ask(page, 'What is the financial outlook?');
            assert.ok((await turn.locator('.answer-footer').innerText()).includes(oldest), `the answer is not of ${oldest}`);
            await shot('1-older-release');
            await page.click('#as-of-reset');
            await page.locator('#as-of-banner').waitFor({ state: 'hidden' });
        }
    });

    await scenario('late-replies', {}, async (page) => {
        // What was asked of an older release comes when the newest is shown again: it counts no more.
        await page.goto(base);
        await page.locator('.status-good').waitFor();
        await page.locator('#as-of option').nth(1).waitFor({ state: 'attached' });
        const nothing = { tables: [], release: 1, columns: [], types: [], rows: [], row_count: 0, truncated: false, documents: [], authors: [], total: 0 };
        await page.route(/\/v1\/.*as_of=/, async (route) => {
            await new Promise((resolve) => setTimeout(resolve, 500));
            await route.fulfill({ json: nothing }).catch(() => undefined);
        });
        for (const [view, shown] of [['data', '#tables-body .row'], ['sql', '#sql-tables li:nth-child(2)'], ['ask', '#filter-author option:nth-child(2)']]) {
            await page.goto(`${base}/#/${view}`);
            await page.locator(shown).first().waitFor({ state: 'attached' });
            await page.locator('#as-of').selectOption({ index: 1 });
            await page.click('#as-of-reset');
            await page.waitForTimeout(1000);
            assert.ok((await page.locator(shown).count()) > 0, `${view} shows the reply that came too late`);
        }
        await page.goto(`${base}/#/constructor`);
        await page.locator('#view-ask').waitFor();
    });

    await scenario('sql', {}, async (page, shot, expected) => {
        await page.goto(`${base}/#/sql`);
        await page.fill('#sql', 'select author, count(*) as documents from documents group by author order by 2 desc');
        await page.press('#sql', 'Control+Enter');
        await page.locator('#sql-result .grid').waitFor();
        const saved = page.waitForEvent('download');
        await page.getByRole('button', { name: 'Download CSV' }).click();
        assert.equal((await saved).suggestedFilename(), 'result.csv');
        expected.push(/status of 400/);
        await page.fill('#sql', 'drop table documents');
        await page.click('#sql-run');
        await page.locator('#sql-result .failure').waitFor();
        assert.ok((await page.locator('#sql-result .failure-detail').innerText()).length > 10);
        await shot('1-refused');
    });

    await scenario('hostile-text', {}, async (page) => {
        let dialogs = 0;
        page.on('dialog', (dialog) => {
            dialogs += 1;
            void dialog.dismiss();
        });
        await page.goto(base);
        const question = '<img src=x onerror=alert(1)> financial outlook <script>alert(2)</script>';
        const turn = await ask(page, question);
        assert.equal(await turn.locator('.turn-question').innerText(), question);
        assert.equal(await page.locator('main img').count(), 0);
        assert.equal(dialogs, 0);
    });

    await scenario('keyboard', {}, async (page) => {
        await page.goto(`${base}/#/runs`);
        await page.locator('.status-good').waitFor();
        await page.keyboard.press('Tab');
        assert.equal(await page.evaluate(() => document.activeElement?.className), 'skip');
        const labels = [];
        for (let i = 0; i < 8; i += 1) {
            await page.keyboard.press('Tab');
            labels.push(await page.evaluate(() => document.activeElement?.textContent?.trim() || document.activeElement?.id));
        }
        for (const label of ['Ask', 'Runs', 'Releases', 'Data', 'SQL']) assert.ok(labels.includes(label), `${label} is not reached by Tab: ${labels}`);
        const unnamed = await page.evaluate(() =>
            [...document.querySelectorAll('button, a[href], input, select, textarea')]
                .filter((element) => !(element.textContent?.trim() || element.getAttribute('aria-label') || element.labels?.length || element.title))
                .map((element) => element.outerHTML.slice(0, 80)),
        );
        assert.deepEqual(unnamed, []);
    });

    await scenario('offline', {}, async (page, shot, expected) => {
        expected.push(/ERR_|Failed to load resource/);
        await page.goto(base);
        await page.locator('.status-good').waitFor();
        const api = /\/v1\/|\/health/; // also the look every few seconds, which would find the gateway again
        await page.route(api, (route) => route.abort());
        await page.fill('#question', 'Is anybody there?');
        await page.press('#question', 'Enter');
        await page.locator('.turn .failure').waitFor();
        await page.locator('#offline').waitFor();
        await shot('1-no-connection');
        await page.unroute(api);
        await page.click('#offline-retry');
        await page.locator('#offline').waitFor({ state: 'hidden' });
    });

    await scenario('docs', {}, async (page, shot) => {
        await page.goto(`${base}/docs`);
        assert.ok((await page.locator('section').count()) > 10);
        await shot('1-docs');
        await noOverflow(page);
    });
} finally {
    await browser.close();
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
