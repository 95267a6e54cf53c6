// SQL: one SELECT over the release, its result as a grid and as CSV.
import { get, post } from './api.js';
import { app } from './app.js';
import type { View } from './app.js';
import { byId, h, icon, replace } from './dom.js';
import { duration, plural } from './format.js';
import { download, gridTable, toCsv } from './grid.js';
import { empty, failure } from './states.js';
import type { Grid, Table } from './types.js';

export function setSql(text: string): void {
    byId<HTMLTextAreaElement>('sql').value = text;
}

export class SqlView implements View {
    private readonly input = byId<HTMLTextAreaElement>('sql');
    private readonly run = byId<HTMLButtonElement>('sql-run');
    private readonly result = byId('sql-result');
    private readonly names = byId('sql-tables');
    private running: AbortController | null = null;
    private namesFor: number | null | undefined = undefined;

    constructor() {
        byId('sql-form').addEventListener('submit', (event) => {
            event.preventDefault();
            if (this.running) this.running.abort();
            else void this.query();
        });
        this.input.addEventListener('keydown', (event) => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !this.running) {
                event.preventDefault();
                void this.query();
            }
        });
        replace(this.result, empty('No query yet', 'Write a SELECT over the tables above. It reads one release and changes nothing.'));
    }

    show(): void {
        this.input.focus();
        if (this.namesFor === app.asOf) return;
        const wanted = app.asOf;
        get<{ tables: Table[] }>('/v1/tables', { as_of: wanted }).then(
            ({ tables }) => {
                if (wanted !== app.asOf) return; // another release was chosen meanwhile; its reply counts
                this.namesFor = wanted;
                const known = new Set([...tables.map((table) => table.name), 'documents']);
                replace(this.names, ...[...known].map((name) => h('li', {}, h('button', { class: 'tag-button', type: 'button', onclick: () => this.insert(name) }, name))));
            },
            () => {
                if (wanted === app.asOf) replace(this.names);
            },
        );
    }

    private insert(name: string): void {
        const start = this.input.selectionStart;
        this.input.setRangeText(name, start, this.input.selectionEnd, 'end');
        this.input.focus();
    }

    private async query(): Promise<void> {
        const sql = this.input.value.trim();
        if (sql === '') {
            this.input.focus();
            return;
        }
        const controller = new AbortController();
        this.running = controller;
        this.setRunning(true);
        replace(this.result, h('p', { class: 'fine', role: 'status' }, 'Running …'));
        const body: Record<string, unknown> = { sql, cells: 'text' };
        if (app.asOf !== null) body['as_of'] = app.asOf;
        try {
            const response = await post('/v1/sql', body, { signal: controller.signal });
            this.showGrid((await response.json()) as Grid);
        } catch (error) {
            if (controller.signal.aborted) replace(this.result, h('p', { class: 'fine' }, 'Stopped.'));
            else replace(this.result, failure(error));
        } finally {
            this.running = null;
            this.setRunning(false);
        }
    }

    private setRunning(running: boolean): void {
        replace(this.run, icon(running ? 'stop' : 'play'), h('span', {}, running ? 'Stop' : 'Run'));
    }

    private showGrid(grid: Grid): void {
        const save = h('button', { class: 'link-button', type: 'button', onclick: () => download('result.csv', toCsv(grid), 'text/csv;charset=utf-8') }, icon('download'), h('span', {}, 'Download CSV'));
        const facts = [plural(grid.row_count, 'row'), duration(grid.elapsed_ms), `release ${grid.release}`].join(' · ');
        const head = h('div', { class: 'result-head', role: 'status' }, h('span', {}, facts), save);
        const note = grid.truncated ? h('p', { class: 'notice' }, `Only the first ${plural(grid.row_count, 'row')} are shown: the query has more. Add a LIMIT or aggregate.`) : null;
        const content = grid.rows.length > 0 ? gridTable(grid, 'Query result') : empty('No rows', 'The query ran and found nothing.');
        replace(this.result, head, note, content);
    }
}
