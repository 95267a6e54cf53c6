// Releases: every snapshot that was published, and the way back to ask as of one.
import { get } from './api.js';
import { app, goTo } from './app.js';
import type { View } from './app.js';
import { byId, h, replace } from './dom.js';
import { count, time } from './format.js';
import { empty, failure, loading } from './states.js';
import type { Release } from './types.js';

export class ReleasesView implements View {
    private readonly body = byId('releases-body');
    private loaded = false;

    show(): void {
        this.load();
    }

    private load(): void {
        if (!this.loaded) replace(this.body, loading());
        get<{ releases: Release[] }>('/v1/releases', { limit: 100 }).then(
            ({ releases }) => {
                this.loaded = true;
                if (releases.length === 0) {
                    replace(this.body, empty('No release yet', 'The first `px run` that passes the gate publishes release 1.'));
                    return;
                }
                const list = h('ol', { class: 'cards' });
                releases.forEach((release, i) => list.append(card(release, i === 0)));
                replace(this.body, list);
            },
            (error: unknown) => {
                this.loaded = false;
                replace(this.body, failure(error, () => this.load()));
            },
        );
    }
}

function card(release: Release, newest: boolean): HTMLElement {
    const serving = app.asOf === null ? newest : app.asOf === release.id;
    const tables = h('ul', { class: 'tags', 'aria-label': 'Tables' });
    for (const [name, version] of Object.entries(release.tables)) {
        tables.append(h('li', {}, h('code', {}, name), ` v${version}`));
    }
    const ask = h(
        'button',
        {
            class: 'button',
            type: 'button',
            onclick: () => {
                app.setAsOf(newest ? null : release.id);
                goTo('ask');
            },
        },
        newest ? 'Ask the newest' : 'Ask as of this release',
    );
    return h(
        'li',
        { class: serving ? 'card is-current' : 'card' },
        h('div', { class: 'card-head' }, h('h3', {}, `Release ${release.id}`), serving ? h('span', { class: 'badge badge-published' }, 'in use') : null),
        h('p', { class: 'card-meta' }, h('span', {}, `${time(release.published_at)} UTC`), ' · ', h('span', {}, `logical date ${release.ds}`)),
        h('div', { class: 'figures' }, figure(release.documents, 'documents'), figure(release.chunks, 'chunks'), figure(Object.keys(release.tables).length, 'tables')),
        tables,
        h('div', { class: 'card-foot' }, h('span', { class: 'fine' }, 'Run ', h('code', {}, release.run)), ask),
    );
}

function figure(value: number | null, name: string): HTMLElement | null {
    return value === null ? null : h('div', { class: 'figure' }, h('b', {}, count(value)), h('span', {}, name));
}
