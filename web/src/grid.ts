// A result as a table, and as CSV.
import { h } from './dom.js';
import { count } from './format.js';
import type { Cell, Grid } from './types.js';

const numeric = /^(BIGINT|INTEGER|SMALLINT|TINYINT|HUGEINT|UBIGINT|UINTEGER|DOUBLE|FLOAT|REAL|DECIMAL)/;

export function gridTable(grid: Grid, caption: string): HTMLElement {
    const right = grid.types.map((type) => numeric.test(type));
    const head = h('tr', {});
    grid.columns.forEach((name, i) => {
        head.append(
            h('th', { scope: 'col', class: right[i] ? 'number' : '' }, h('span', {}, name), h('small', {}, grid.types[i] ?? '')),
        );
    });
    const body = h('tbody');
    for (const row of grid.rows) {
        const line = h('tr');
        row.forEach((cell, i) => {
            line.append(
                cell === null
                    ? h('td', { class: right[i] ? 'null number' : 'null' }, 'NULL')
                    : h('td', { class: right[i] ? 'number' : '' }, h('span', { class: 'cell' }, String(cell))),
            );
        });
        body.append(line);
    }
    return h(
        'div',
        { class: 'grid-scroll', tabindex: '0', role: 'region', 'aria-label': caption },
        h('table', { class: 'grid' }, h('caption', { class: 'visually-hidden' }, `${caption}, ${count(grid.row_count)} rows`), h('thead', {}, head), body),
    );
}

function csvCell(cell: Cell, type: string): string {
    if (cell === null) return '';
    let text = String(cell);
    // A spreadsheet would run text that begins like a formula.
    if (!numeric.test(type) && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function toCsv(grid: Grid): string {
    const lines = [grid.columns.map((name) => csvCell(name, 'VARCHAR')).join(',')];
    for (const row of grid.rows) lines.push(row.map((cell, i) => csvCell(cell, grid.types[i] ?? '')).join(','));
    return `${lines.join('\r\n')}\r\n`;
}

export function download(name: string, text: string, type: string): void {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = h('a', { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    URL.revokeObjectURL(url);
}
