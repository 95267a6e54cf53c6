// The page: which view is shown, the release everything is as of, whether the gateway answers.
import { get, onConnection } from './api.js';
import { app } from './app.js';
import type { View } from './app.js';
import { AskView } from './ask.js';
import { closePanel, setUpPanel } from './citation.js';
import { DataView } from './data.js';
import { byId, h, replace } from './dom.js';
import { plural, time } from './format.js';
import { ReleasesView } from './releases.js';
import { RunsView } from './runs.js';
import { SqlView } from './sql.js';
import type { Health, Release } from './types.js';

const views: Record<string, View> = {
    ask: new AskView(),
    runs: new RunsView(),
    releases: new ReleasesView(),
    data: new DataView(),
    sql: new SqlView(),
};
const titles: Record<string, string> = { ask: 'Ask', runs: 'Runs', releases: 'Releases', data: 'Data', sql: 'SQL' };

let current = '';
let newest: number | null = null;

function showView(): void {
    const wanted = window.location.hash.replace(/^#\//, '');
    const name = Object.hasOwn(views, wanted) ? wanted : 'ask';
    if (name !== current) closePanel();
    current = name;
    for (const key of Object.keys(views)) {
        byId(`view-${key}`).hidden = key !== name;
        const link = byId(`nav-${key}`);
        if (key === name) link.setAttribute('aria-current', 'page');
        else link.removeAttribute('aria-current');
    }
    document.title = `${titles[name]} · Pipeline-X`;
    views[name]?.show();
}

/** With the count, unless it is withheld. */
function known(text: string, number: number | null, name: string): string {
    return number === null ? text : `${text} · ${plural(number, name)}`;
}

function showHealth(health: Health): void {
    byId('pipeline').textContent = health.pipeline;
    byId('version').textContent = health.version;
    const status = byId('status');
    const release = health.release;
    status.className = health.status === 'ok' ? 'status status-good' : 'status status-warn';
    byId('status-text').textContent = release ? known(`Release ${release.id}`, release.documents, 'document') : 'Nothing released yet';
    status.title = release ? `${known(`Published ${time(release.published_at)} UTC`, health.points, 'passage')} · ${health.model}` : 'Run the pipeline with px run';
    const id = release?.id ?? null;
    if (id !== newest) {
        const first = newest === null;
        newest = id;
        void loadReleases();
        if (!first && app.asOf === null) views[current]?.show();
    }
}

async function loadReleases(): Promise<void> {
    const picker = byId<HTMLSelectElement>('as-of');
    try {
        const { releases } = await get<{ releases: Release[] }>('/v1/releases', { limit: 100 });
        replace(picker, h('option', { value: '' }, 'Newest release'));
        for (const release of releases) {
            picker.append(h('option', { value: release.id }, `Release ${release.id} · ${time(release.published_at)}`));
        }
        markAsOf();
    } catch {
        // The next look at /health tries again.
        newest = null;
    }
}

function markAsOf(): void {
    const picker = byId<HTMLSelectElement>('as-of');
    picker.value = app.asOf === null ? '' : String(app.asOf);
    byId('as-of-box').classList.toggle('is-set', app.asOf !== null);
    const banner = byId('as-of-banner');
    banner.hidden = app.asOf === null;
    byId('as-of-text').textContent = app.asOf === null ? '' : `You are looking at release ${app.asOf}, not the newest one.`;
}

async function poll(): Promise<void> {
    try {
        showHealth(await get<Health>('/health'));
    } catch {
        byId('status').className = 'status status-bad';
        byId('status-text').textContent = 'Not reachable';
    }
}

onConnection((online) => {
    byId('offline').hidden = online;
});
byId<HTMLSelectElement>('as-of').addEventListener('change', (event) => {
    const { value } = event.target as HTMLSelectElement;
    app.setAsOf(value === '' ? null : Number(value));
});
byId('as-of-reset').addEventListener('click', () => app.setAsOf(null));
byId('offline-retry').addEventListener('click', () => {
    void poll().then(() => views[current]?.show());
});
app.onChange(() => {
    markAsOf();
    closePanel();
    views[current]?.show();
});
setUpPanel();
window.addEventListener('hashchange', showView);
showView();
void poll();
window.setInterval(() => {
    if (!document.hidden) void poll();
}, 15_000);
