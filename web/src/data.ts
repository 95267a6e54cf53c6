// Data: tables of the release with their columns, and what the gate rejected.
import { get } from './api.js';
import { app, goTo } from './app.js';
import type { View } from './app.js';
import { byId, h, icon, replace } from './dom.js';
import { bytes, plural } from './format.js';
import { gridTable } from './grid.js';
import { setSql } from './sql.js';
import { empty, failure, loading } from './states.js';
import type { Grid, Table } from './types.js';

export class DataView implements View {
    private readonly tables = byId('tables-body');
    private readonly rejects = byId('quarantine-body');
    private readonly source = byId<HTMLSelectElement>('quarantine-source');
    private shownFor: number | null | undefined = undefined;
    // Replies of an earlier turn (another release, another source) come too late.
    private tablesTurn = 0;
    private rejectsTurn = 0;

    constructor() {
        this.source.addEventListener('change', () => this.loadRejects());
    }

    show(): void {
        if (this.shownFor !== app.asOf || this.shownFor === undefined) {
            replace(this.tables, loading());
            replace(this.rejects, loading());
            this.source.value = '';
        }
        this.shownFor = app.asOf;
        this.loadTables();
        this.loadRejects();
    }

    private loadTables(): void {
        const turn = ++this.tablesTurn;
        get<{ tables: Table[]; release: number }>('/v1/tables', { as_of: app.asOf }).then(
            ({ tables }) => {
                if (turn !== this.tablesTurn) return;
                if (tables.length === 0) {
                    replace(this.tables, empty('No table yet', 'The first release brings the tables of the pipeline.'));
                    return;
                }
                const list = h('ul', { class: 'rows' });
                for (const table of tables) list.append(row(table));
                replace(this.tables, list);
            },
            (error: unknown) => {
                if (turn === this.tablesTurn) replace(this.tables, failure(error, () => this.loadTables()));
            },
        );
    }

    private loadRejects(): void {
        const chosen = this.source.value;
        const turn = ++this.rejectsTurn;
        get<Grid>('/v1/quarantine', { as_of: app.asOf, source: chosen, limit: 200 }).then(
            (grid) => {
                if (turn !== this.rejectsTurn) return;
                if (chosen === '') this.offerSources(grid);
                if (grid.rows.length === 0) {
                    replace(this.rejects, empty('Nothing in quarantine', 'Every record of this release passed its contract.'));
                    return;
                }
                const note = grid.truncated ? `The first ${plural(grid.row_count, 'record')}; there are more.` : `${plural(grid.row_count, 'record')}.`;
                replace(this.rejects, h('p', { class: 'fine' }, note), gridTable(grid, 'Quarantined records'));
            },
            (error: unknown) => {
                if (turn === this.rejectsTurn) replace(this.rejects, failure(error, () => this.loadRejects()));
            },
        );
    }

    private offerSources(grid: Grid): void {
        const at = grid.columns.indexOf('source');
        const names = at < 0 ? [] : [...new Set(grid.rows.map((cells) => String(cells[at] ?? '')))].filter((name) => name !== '').sort();
        replace(this.source, h('option', { value: '' }, 'All sources'), ...names.map((name) => h('option', { value: name }, name)));
        byId('quarantine-tools').hidden = names.length < 1;
    }
}

function row(table: Table): HTMLElement {
    const columns = h('tbody');
    for (const column of table.columns) {
        columns.append(
            h(
                'tr',
                {},
                h('td', {}, h('code', {}, column.name)),
                h('td', {}, column.type),
                h('td', {}, column.nullable ? 'may be null' : 'required'),
                h('td', {}, table.partition_columns.includes(column.name) ? 'partition' : ''),
            ),
        );
    }
    const query = h(
        'button',
        {
            class: 'button',
            type: 'button',
            onclick: () => {
                setSql(`select *\nfrom ${quoted(table.name)}\nlimit 100`);
                goTo('sql');
            },
        },
        'Query this table',
    );
    return h(
        'li',
        { class: 'row' },
        h(
            'details',
            {},
            h(
                'summary',
                { class: 'row-head' },
                icon('chevron'),
                h('span', { class: 'row-name' }, h('code', {}, table.name)),
                h('span', { class: 'row-facts' }, facts(table).join(' · ')),
            ),
            h(
                'div',
                { class: 'row-detail' },
                h('div', { class: 'grid-scroll', tabindex: '0', role: 'region', 'aria-label': `Columns of ${table.name}` }, h('table', { class: 'grid' }, h('thead', {}, h('tr', {}, ...['Column', 'Type', 'Null', 'Role'].map((name) => h('th', { scope: 'col' }, name)))), columns)),
                query,
            ),
        ),
    );
}

function facts(table: Table): string[] {
    const said = [`version ${table.version}`, table.row_count === null ? 'rows unknown' : plural(table.row_count, 'row'), plural(table.columns.length, 'column')];
    if (table.file_count !== null) said.push(plural(table.file_count, 'file'));
    if (table.size_bytes !== null) said.push(bytes(table.size_bytes));
    return said;
}

function quoted(name: string): string {
    return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
