// The parts of the page that need no browser. Compiles the TypeScript into a folder of its own. Run by `npm test`.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const web = fileURLToPath(new URL('..', import.meta.url));
let out = '';
let load;

before(() => {
    out = mkdtempSync(join(tmpdir(), 'px-web-'));
    execFileSync(process.execPath, [join(web, 'node_modules/typescript/bin/tsc'), '-p', join(web, 'tsconfig.json'), '--outDir', out], { stdio: 'inherit' });
    writeFileSync(join(out, 'package.json'), '{"type":"module"}');
    load = (name) => import(pathToFileURL(join(out, name)).href);
});
after(() => rmSync(out, { recursive: true, force: true }));

test('events come whole however they are cut', async () => {
    const { EventParser } = await load('sse.js');
    const text = 'event: a\ndata: 1\ndata: 2\n\n: comment\r\nevent: b\r\ndata:3\r\n\r\ndata: x\rdata: y\r\r\nid: 7\n\n';
    const whole = new EventParser().push(text);
    assert.deepEqual(whole, [
        { event: 'a', data: '1\n2' },
        { event: 'b', data: '3' },
        { event: 'message', data: 'x\ny' },
    ]);
    for (let size = 1; size < 7; size += 1) {
        const parser = new EventParser();
        const events = [];
        for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
        assert.deepEqual(events, whole, `pieces of ${size}`);
    }
});

test('an event that was cut is not an event', async () => {
    const { EventParser } = await load('sse.js');
    assert.deepEqual(new EventParser().push('event: done\ndata: {}\n'), []);
});

test('CSV quotes what needs it and disarms formulas in text', async () => {
    const { toCsv } = await load('grid.js');
    const csv = toCsv({
        columns: ['name', 'n'],
        types: ['VARCHAR', 'DECIMAL(18,2)'],
        rows: [['a,"b"', '-1.50'], ['=1+1', null], ['line\nbreak', '9007199254740993.25']],
    });
    assert.equal(csv, 'name,n\r\n"a,""b""",-1.50\r\n\'=1+1,\r\n"line\nbreak",9007199254740993.25\r\n');
});

test('numbers and times read well', async () => {
    const { bytes, duration, time, day, plural } = await load('format.js');
    assert.equal(bytes(999), '999 B');
    assert.equal(bytes(1_234_567), '1.2 MB');
    assert.equal(duration(3.21), '3.2 ms');
    assert.equal(duration(61_000), '1 min 1 s');
    assert.equal(duration(null), '–');
    assert.equal(time('2026-11-23T08:27:01.000000Z'), '23 Nov 2026, 08:27');
    assert.equal(day('2026-11-23'), '23 Nov 2026');
    assert.equal(day('no date'), 'no date');
    assert.equal(plural(1, 'row'), '1 row');
    assert.equal(plural(1200, 'row'), '1,200 rows');
});
