// The side panel: the cited passage in its document, where it comes from, and its verification.
import { get, post } from './api.js';
import { byId, h, icon, replace } from './dom.js';
import { count, day, time } from './format.js';
import { failure, loading } from './states.js';
import type { Citation, CitationDetail, Verification } from './types.js';

let opener: HTMLElement | null = null;
let shown = 0;

export function openCitation(citation: Citation, from: HTMLElement): void {
    const panel = byId('panel');
    document.querySelectorAll('.is-open').forEach((element) => element.classList.remove('is-open'));
    opener = from;
    opener.classList.add('is-open');
    panel.hidden = false;
    document.body.classList.add('has-panel');
    byId('panel-title').textContent = citation.title || citation.document_id;
    byId('panel-number').textContent = String(citation.n);
    byId('panel-meta').textContent = [citation.author, day(citation.date), citation.category].filter((part) => part !== '').join(' · ');
    const body = byId('panel-body');
    body.scrollTop = 0;
    byId('panel-close').focus();
    shown += 1;
    const turn = shown;
    const load = (): void => {
        replace(body, loading(6));
        get<CitationDetail>(`/v1/citations/${encodeURIComponent(citation.chunk_id)}`, { as_of: citation.release }).then(
            (detail) => {
                if (turn !== shown) return;
                replace(body, passage(citation, detail), verification(citation), provenance(citation, detail));
                body.querySelector('mark')?.scrollIntoView({ block: 'center' });
            },
            (error: unknown) => {
                if (turn === shown) replace(body, failure(error, load));
            },
        );
    };
    load();
}

export function closePanel(): void {
    const panel = byId('panel');
    if (panel.hidden) return;
    shown += 1;
    panel.hidden = true;
    document.body.classList.remove('has-panel');
    opener?.classList.remove('is-open');
    opener?.focus();
    opener = null;
}

export function setUpPanel(): void {
    byId('panel-close').addEventListener('click', closePanel);
    byId('panel-shade').addEventListener('click', closePanel);
    document.addEventListener('keydown', (event) => {
        if (event.key === 'Escape') closePanel();
    });
    const panel = byId('panel');
    panel.addEventListener('keydown', (event) => {
        // On a phone the panel covers the page: the focus must not leave it.
        if (event.key !== 'Tab' || window.matchMedia('(min-width: 1100px)').matches) return;
        const stops = [...panel.querySelectorAll<HTMLElement>('button, a[href], [tabindex="0"], summary')].filter((element) => element.offsetParent !== null);
        const first = stops[0];
        const last = stops[stops.length - 1];
        if (!first || !last) return;
        if (event.shiftKey && document.activeElement === first) {
            event.preventDefault();
            last.focus();
        } else if (!event.shiftKey && document.activeElement === last) {
            event.preventDefault();
            first.focus();
        }
    });
}

/** Places in the API are bytes of UTF-8. */
function slices(text: string, start: number, cuts: number[]): string[] {
    const bytes = new TextEncoder().encode(text);
    const decoder = new TextDecoder();
    const places = [start, ...cuts, start + bytes.length].map((cut) => Math.min(Math.max(cut - start, 0), bytes.length));
    return places.slice(1).map((end, i) => decoder.decode(bytes.subarray(places[i], end)));
}

function passage(citation: Citation, detail: CitationDetail): HTMLElement {
    const { text_start: start, text_end: end } = detail.passage;
    const quoteStart = Math.max(citation.text_start, start);
    const quoteEnd = Math.min(citation.text_end, end);
    const around = detail.context ?? { ...detail.passage, document_bytes: 0 };
    const [before, lead, quote, tail, after] = slices(around.text, around.text_start, [start, quoteStart, quoteEnd, end]);
    const box = h('blockquote', { class: 'passage', tabindex: '0', 'aria-label': 'Cited passage in its document' });
    box.append(
        h('span', { class: 'around' }, (around.text_start > 0 && detail.context ? '… ' : '') + (before ?? '')),
        h('span', {}, lead ?? ''),
        h('mark', {}, quote ?? ''),
        h('span', {}, tail ?? ''),
        h('span', { class: 'around' }, (after ?? '') + (detail.context && around.text_end < around.document_bytes ? ' …' : '')),
    );
    const section = h('section', {}, h('h3', {}, 'Passage'), box);
    if (detail.context_problem) section.append(h('p', { class: 'notice' }, `The document could not be derived again: ${detail.context_problem}`));
    return section;
}

function verification(citation: Citation): HTMLElement {
    const result = h('div', { class: 'verify-result', 'aria-live': 'polite' });
    const button = h('button', { class: 'button button-primary', type: 'button', id: 'verify' }, icon('shield'), h('span', {}, 'Verify'));
    button.addEventListener('click', () => {
        button.disabled = true;
        replace(result, h('p', { class: 'fine' }, 'Deriving it again from the landed bytes …'));
        post('/v1/verify', { citation })
            .then((response) => response.json() as Promise<Verification>)
            .then(
                (verified) => replace(result, ...steps(verified)),
                (error: unknown) => replace(result, failure(error)),
            )
            .finally(() => {
                button.disabled = false;
            });
    });
    return h('section', { class: 'verify' }, h('div', { class: 'verify-head' }, h('h3', {}, 'Verification'), button), h('p', { class: 'fine' }, 'Follows the quote back to the bytes that were loaded, and compares.'), result);
}

function steps(verified: Verification): HTMLElement[] {
    const list = h('ol', { class: 'steps' });
    for (const { step, passed } of verified.steps) {
        list.append(h('li', { class: passed ? 'passed' : 'failed' }, icon(passed ? 'check' : 'cross'), h('span', {}, step), h('span', { class: 'visually-hidden' }, passed ? 'passed' : 'failed')));
    }
    const verdict = h('p', { class: verified.verified ? 'verdict verdict-good' : 'verdict verdict-bad' }, icon(verified.verified ? 'check' : 'warning'), verified.verified ? 'Verified: every step matches.' : `Not verified: ${verified.reason}`);
    return [verdict, list];
}

function provenance(citation: Citation, detail: CitationDetail): HTMLElement {
    const { source } = citation;
    const list = h('dl', { class: 'facts' });
    const fact = (name: string, ...value: (HTMLElement | string)[]): void => {
        const text = h('dd');
        text.append(...value);
        list.append(h('div', {}, h('dt', {}, name), text));
    };
    fact('File', source.file || '–');
    fact('Record', source.line > 0 ? `line ${count(source.line)}, ` : '', `bytes ${count(source.byte_start)} to ${count(source.byte_end)}`);
    fact('SHA-256', h('code', {}, source.sha256 || '–'));
    if (source.landed) fact('Landed as', h('code', {}, source.landed));
    fact('Table', h('code', {}, citation.table), `, version ${citation.version}`);
    fact('Release', `${citation.release}, published ${time(detail.published_at)} UTC`);
    fact('Run', h('code', {}, detail.run));
    fact('Quote', `bytes ${count(citation.text_start)} to ${count(citation.text_end)} of the text`);
    fact('Chunk', h('code', {}, citation.chunk_id));
    return h('section', {}, h('h3', {}, 'Where it comes from'), list);
}
