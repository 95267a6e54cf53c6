// Runs: what the pipeline did, newest first; a run opens to its tasks, checks, quarantine and files.
import { get } from './api.js';
import type { View } from './app.js';
import { byId, h, icon, replace } from './dom.js';
import { bytes, count, duration, sentenceCase, time } from './format.js';
import { badge, empty, failure, loading } from './states.js';
import type { Run, RunDetail } from './types.js';

export class RunsView implements View {
    private readonly body = byId('runs-body');
    private loaded = false;

    constructor() {
        byId('runs-refresh').addEventListener('click', () => this.load());
    }

    show(): void {
        this.load();
    }

    private load(): void {
        if (!this.loaded) replace(this.body, loading());
        get<{ runs: Run[] }>('/v1/runs', { limit: 50 }).then(
            ({ runs }) => {
                this.loaded = true;
                if (runs.length === 0) {
                    replace(this.body, empty('No run yet', 'Start the pipeline with `px run`; its runs appear here.'));
                    return;
                }
                const list = h('ul', { class: 'rows' });
                for (const run of runs) list.append(this.row(run));
                replace(this.body, list);
            },
            (error: unknown) => {
                this.loaded = false;
                replace(this.body, failure(error, () => this.load()));
            },
        );
    }

    private row(run: Run): HTMLElement {
        const detail = h('div', { class: 'row-detail' });
        const facts = [`Started ${time(run.started_at)} UTC`];
        if (run.duration_ms !== null) facts.push(`took ${duration(run.duration_ms)}`);
        if (run.release !== null) facts.push(`Release ${run.release}`);
        const summary = h(
            'summary',
            { class: 'row-head' },
            icon('chevron'),
            h('span', { class: 'row-name' }, h('code', {}, run.id)),
            badge(run.state),
            h('span', { class: 'row-facts' }, facts.join(' · ')),
            h('span', { class: 'row-counts' }, ...counts(run.report)),
        );
        const fold = h('details', {}, summary, detail);
        fold.addEventListener('toggle', () => {
            if (!fold.open || detail.dataset['loaded']) return;
            detail.dataset['loaded'] = 'yes';
            this.open(run, detail);
        });
        const item = h('li', { class: 'row' }, fold);
        if (run.message) item.append(h('p', { class: run.state === 'halted' || run.state === 'failed' ? 'row-message row-message-bad' : 'row-message' }, run.message));
        return item;
    }

    private open(run: Run, detail: HTMLElement): void {
        replace(detail, loading(3));
        get<RunDetail>(`/v1/runs/${encodeURIComponent(run.id)}`).then(
            (full) => replace(detail, ...sections(full)),
            (error: unknown) => replace(detail, failure(error, () => this.open(run, detail))),
        );
    }
}

interface Report {
    sources?: { accepted?: number; quarantined?: number }[];
    chunks?: { embed?: number; reuse?: number; delete?: number };
}

/** What a run's report counts, as far as it got. */
function counts(report: unknown): HTMLElement[] {
    if (typeof report !== 'object' || report === null) return [];
    const { sources, chunks } = report as Report;
    const parts: [number | undefined, string][] = [];
    if (Array.isArray(sources)) {
        parts.push([sources.reduce((sum, source) => sum + (source.accepted ?? 0), 0), 'rows accepted']);
        parts.push([sources.reduce((sum, source) => sum + (source.quarantined ?? 0), 0), 'quarantined']);
    }
    if (chunks) parts.push([chunks.embed, 'chunks embedded'], [chunks.reuse, 'reused'], [chunks.delete, 'deleted']);
    return parts
        .filter((part): part is [number, string] => typeof part[0] === 'number')
        .map(([value, name]) => h('span', { class: 'count' }, h('b', {}, count(value)), ` ${name}`));
}

function table(head: string[], rows: (string | HTMLElement)[][]): HTMLElement {
    const body = h('tbody');
    for (const cells of rows) {
        const line = h('tr');
        for (const cell of cells) {
            const data = h('td');
            data.append(cell);
            line.append(data);
        }
        body.append(line);
    }
    return h('div', { class: 'grid-scroll', tabindex: '0', role: 'region', 'aria-label': head.join(', ') }, h('table', { class: 'grid' }, h('thead', {}, h('tr', {}, ...head.map((name) => h('th', { scope: 'col' }, name)))), body));
}

function sections({ tasks, checks, quarantine, landed, pipeline_text: pipeline }: RunDetail): HTMLElement[] {
    const parts: HTMLElement[] = [];
    const add = (title: string, content: HTMLElement): void => {
        parts.push(h('section', {}, h('h3', {}, title), content));
    };
    if (tasks.length > 0) {
        add('Tasks', table(['Task', 'Attempt', 'State', 'Took', 'Message'], tasks.map((task) => [h('code', {}, task.task), String(task.attempt), badge(task.state), took(task.started_at, task.finished_at), task.message])));
    }
    if (checks.length > 0) {
        add('Checks', table(['Source', 'Check', 'Expected', 'Actual', 'Result'], checks.map((check) => [check.source, check.check, check.expected, check.actual, badge(check.passed ? 'passed' : 'failed')])));
    }
    if (quarantine.length > 0) {
        add('Quarantined', table(['Source', 'Rule', 'Records'], quarantine.map((entry) => [entry.source, sentenceCase(entry.rule), count(entry.count)])));
    }
    if (landed.length > 0) {
        add('Landed files', table(['Source', 'File', 'Size', 'SHA-256'], landed.map((file) => [file.source, file.file, bytes(file.size_bytes), h('code', { title: file.sha256 }, `${file.sha256.slice(0, 12)}…`)])));
    }
    if (pipeline) add('Pipeline file', h('pre', { class: 'code', tabindex: '0' }, pipeline));
    if (parts.length === 0) parts.push(h('p', { class: 'fine' }, 'Nothing more is recorded of this run.'));
    return parts;
}

function took(from: string | null, to: string | null): string {
    if (!from || !to) return '–';
    return duration(new Date(to).getTime() - new Date(from).getTime());
}
