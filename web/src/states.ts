// What a view shows when it has nothing else to show: loading, empty, failed.
import { ApiError, OfflineError } from './api.js';
import { h, icon } from './dom.js';

export function loading(lines = 4): HTMLElement {
    const box = h('div', { class: 'skeleton', role: 'status' }, h('span', { class: 'visually-hidden' }, 'Loading …'));
    for (let i = 0; i < lines; i += 1) box.append(h('div', { class: 'skeleton-line', 'aria-hidden': 'true' }));
    return box;
}

export function empty(title: string, text: string, action?: HTMLElement): HTMLElement {
    return h('div', { class: 'state' }, h('h3', {}, title), h('p', {}, text), action);
}

export function failure(error: unknown, retry?: () => void): HTMLElement {
    const offline = error instanceof OfflineError;
    const title = error instanceof ApiError ? error.problem.title : offline ? 'No connection' : 'Something went wrong';
    const detail = error instanceof Error ? error.message : String(error);
    const hint = error instanceof ApiError ? error.problem.hint : offline ? 'Is `px serve` still running?' : undefined;
    const id = error instanceof ApiError ? error.problem.request_id : undefined;
    return h(
        'div',
        { class: 'state failure', role: 'alert' },
        icon('warning'),
        h(
            'div',
            {},
            h('h3', {}, title),
            h('p', { class: 'failure-detail' }, detail),
            hint ? h('p', { class: 'hint' }, hint) : null,
            id ? h('p', { class: 'fine' }, `Request ${id}`) : null,
            retry ? h('button', { class: 'button', type: 'button', onclick: retry }, 'Try again') : null,
        ),
    );
}

export function badge(state: string): HTMLElement {
    return h('span', { class: `badge badge-${state.replaceAll(/[^a-z]/g, '')}` }, state);
}
