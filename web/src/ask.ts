// Ask: a question, the answer sentence by sentence as it comes, numbered sources.
import { ApiError, OfflineError, get, onConnection, post } from './api.js';
import { app } from './app.js';
import type { View } from './app.js';
import { openCitation } from './citation.js';
import { append, byId, h, icon, replace } from './dom.js';
import { day, duration, plural } from './format.js';
import { serverEvents } from './sse.js';
import { failure } from './states.js';
import type { Answer, Citation, Constraint, Documents, Passage, Problem, Sentence } from './types.js';

const suggestions = [
    'What is the financial outlook?',
    'Which risks are named, and how large are they?',
    'What was decided, and by whom?',
    'What changed compared with last year?',
];

interface Filters {
    authors?: string[];
    from?: string;
    to?: string;
}

/** What a question is asked in; asking it again keeps it. */
interface Context {
    history: string[];
    filters: Filters | null;
    asOf: number | null;
}

export class AskView implements View {
    private readonly form = byId<HTMLFormElement>('ask-form');
    private readonly input = byId<HTMLTextAreaElement>('question');
    private readonly send = byId<HTMLButtonElement>('send');
    private readonly log = byId('answers');
    private readonly welcome = byId('welcome');
    private readonly filterToggle = byId<HTMLButtonElement>('filter-toggle');
    private readonly filterRow = byId('filters');
    private readonly author = byId<HTMLSelectElement>('filter-author');
    private readonly from = byId<HTMLInputElement>('filter-from');
    private readonly to = byId<HTMLInputElement>('filter-to');
    private running: AbortController | null = null;
    private authorsOf: number | null | undefined = undefined;
    private readonly history: string[] = []; // what was asked here, as it was understood

    constructor() {
        this.form.addEventListener('submit', (event) => {
            event.preventDefault();
            if (this.running) this.running.abort();
            else void this.ask(this.input.value);
        });
        this.input.addEventListener('keydown', (event) => {
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            if (!this.running) void this.ask(this.input.value);
        });
        this.input.addEventListener('input', () => this.fit());
        this.filterToggle.addEventListener('click', () => this.showFilters(this.filterRow.hidden));
        byId('filter-clear').addEventListener('click', () => {
            this.author.value = '';
            this.from.value = '';
            this.to.value = '';
            this.markFilters();
            this.input.focus();
        });
        for (const field of [this.author, this.from, this.to]) field.addEventListener('change', () => this.markFilters());
        const list = byId('suggestions');
        for (const text of suggestions) {
            list.append(h('li', {}, h('button', { class: 'suggestion', type: 'button', onclick: () => void this.ask(text) }, text)));
        }
        onConnection((online) => {
            if (online && this.authorsOf === undefined) void this.loadAuthors();
        });
    }

    show(): void {
        if (this.authorsOf !== app.asOf) void this.loadAuthors();
        if (window.matchMedia('(min-width: 800px)').matches) this.input.focus();
    }

    private fit(): void {
        this.input.style.height = 'auto';
        this.input.style.height = `${Math.min(this.input.scrollHeight, 160)}px`;
    }

    private showFilters(open: boolean): void {
        this.filterRow.hidden = !open;
        this.filterToggle.setAttribute('aria-expanded', String(open));
        if (open) this.author.focus();
    }

    private markFilters(): void {
        const set = [this.author.value, this.from.value, this.to.value].filter((value) => value !== '').length;
        this.filterToggle.classList.toggle('is-set', set > 0);
        byId('filter-count').textContent = set > 0 ? ` (${set})` : '';
    }

    private async loadAuthors(): Promise<void> {
        const wanted = app.asOf;
        try {
            const documents = await get<Documents>('/v1/documents', { limit: 0, as_of: wanted });
            if (wanted !== app.asOf) return; // another release was chosen meanwhile; its reply counts
            const chosen = this.author.value;
            replace(this.author, h('option', { value: '' }, 'Any author'));
            for (const { name, count } of documents.authors) {
                if (name !== '') this.author.append(h('option', { value: name }, `${name} (${count})`));
            }
            this.author.value = chosen;
            if (this.author.selectedIndex < 0) this.author.value = '';
            this.authorsOf = wanted;
        } catch {
            // The filter stays as it is; what is wrong shows where it matters, at the answer.
            if (wanted !== app.asOf) return;
            this.authorsOf = undefined;
        }
        this.markFilters();
    }

    private filters(): Filters | null {
        const filters: Filters = {};
        if (this.author.value) filters.authors = [this.author.value];
        if (this.from.value) filters.from = this.from.value;
        if (this.to.value) filters.to = this.to.value;
        return Object.keys(filters).length > 0 ? filters : null;
    }

    private context(): Context {
        return { history: this.history.slice(-6), filters: this.filters(), asOf: app.asOf };
    }

    private async ask(text: string, without: string[] = [], context: Context = this.context()): Promise<void> {
        const question = text.trim();
        if (question === '' || this.running) return;
        const controller = new AbortController();
        this.running = controller;
        this.setRunning(true);
        this.input.value = '';
        this.fit();
        this.welcome.hidden = true;

        const turn = new Turn(
            question,
            () => void this.ask(question, without, context),
            (constraint) => void this.ask(question, [...without, constraint.text], context),
        );
        this.log.append(turn.element);
        turn.element.scrollIntoView({ block: 'start', behavior: reducedMotion() ? 'auto' : 'smooth' });
        const body: Record<string, unknown> = { question, stream: true };
        if (context.filters) body['filters'] = context.filters;
        if (context.asOf !== null) body['as_of'] = context.asOf;
        if (without.length > 0) body['without'] = without;
        if (context.history.length > 0) body['history'] = context.history;
        turn.describe(context);
        try {
            const response = await post('/v1/ask', body, { signal: controller.signal, headers: { Accept: 'text/event-stream' } });
            if (!response.body) throw new OfflineError();
            let ended = false;
            for await (const { event, data } of serverEvents(response.body)) {
                if (event === 'passages') turn.passages((JSON.parse(data) as { passages: Passage[] }).passages);
                else if (event === 'sentence') turn.sentence(JSON.parse(data) as Sentence);
                else if (event === 'error') throw new ApiError(JSON.parse(data) as Problem);
                else if (event === 'done') {
                    const answer = JSON.parse(data) as Answer;
                    turn.done(answer);
                    this.history.push(answer.question);
                    ended = true;
                }
            }
            if (!ended) throw new OfflineError();
        } catch (error) {
            if (controller.signal.aborted) turn.stopped();
            else turn.failed(error instanceof TypeError ? new OfflineError() : error);
        } finally {
            this.running = null;
            this.setRunning(false);
        }
    }

    private setRunning(running: boolean): void {
        replace(this.send, icon(running ? 'stop' : 'send'));
        this.send.setAttribute('aria-label', running ? 'Stop' : 'Ask');
        this.log.setAttribute('aria-busy', String(running));
    }
}

function reducedMotion(): boolean {
    return window.matchMedia('(prefers-reduced-motion: reduce)').matches;
}

/** One question with what came back. */
class Turn {
    readonly element: HTMLElement;
    private readonly text = h('p', { class: 'answer-text' });
    private readonly body = h('div', { class: 'answer-body' }, h('div', { class: 'thinking' }, h('span'), h('span'), h('span'), h('span', { class: 'visually-hidden' }, 'Searching the sources …')));
    private readonly scope = h('p', { class: 'answer-scope' });
    private found: Passage[] = [];
    private started = false;

    constructor(
        readonly question: string,
        private readonly again: () => void,
        private readonly without: (constraint: Constraint) => void,
    ) {
        this.element = h('article', { class: 'turn' }, h('h2', { class: 'turn-question' }, question), this.scope, this.body);
    }

    describe({ filters, asOf }: Context): void {
        const parts: string[] = [];
        if (asOf !== null) parts.push(`as of release ${asOf}`);
        if (filters?.authors) parts.push(`by ${filters.authors.join(', ')}`);
        if (filters?.from) parts.push(`from ${day(filters.from)}`);
        if (filters?.to) parts.push(`to ${day(filters.to)}`);
        this.scope.textContent = parts.join(' · ');
        this.scope.hidden = parts.length === 0;
    }

    passages(passages: Passage[]): void {
        this.found = passages;
    }

    sentence(sentence: Sentence): void {
        if (!this.started) replace(this.body, this.text);
        this.started = true;
        if (this.text.childNodes.length > 0) this.text.append(' ');
        // The mark becomes a chip; the words stay as they are, brackets of the source among them.
        let words = sentence.text;
        for (const { n } of sentence.citations) words = words.endsWith(` [${n}]`) ? words.slice(0, -` [${n}]`.length) : words;
        const span = h('span', { class: sentence.supported === false ? 'sentence unsupported' : 'sentence' }, words);
        if (sentence.supported === false) span.append(' ', h('span', { class: 'unsupported-mark' }, '(not supported by the sources)'));
        for (const citation of sentence.citations) span.append(' ', this.chip(citation));
        this.text.append(span);
    }

    done(answer: Answer): void {
        if (!answer.grounded) this.notFound(answer);
        else append(this.body, this.sources(answer.citations));
        this.showConstraints(answer);
        for (const { values, dates } of answer.disagreements) {
            const said = values.map((value, i) => (dates[i] ? `${value} (${day(dates[i] ?? '')})` : value)).join(', ');
            append(this.body, h('p', { class: 'fine' }, `The sources disagree: ${said}.`));
        }
        if (answer.notice) append(this.body, h('p', { class: 'fine' }, `Sentences of the sources, because ${answer.notice}.`));
        if (answer.sql) append(this.body, h('p', { class: 'fine' }, `As a query over the tables, ${answer.sql.explanation}: `, h('code', {}, answer.sql.query)));
        append(this.body, this.footer(answer));
    }

    /** What the question itself narrowed, each with a button that asks again without it. */
    private showConstraints(answer: Answer): void {
        if (answer.question !== this.question) append(this.scope, h('span', {}, `understood as: ${answer.question} `));
        const texts = new Set<string>();
        for (const constraint of answer.constraints) {
            if (texts.has(constraint.text)) continue;
            texts.add(constraint.text);
            const label = constraint.field === 'author' ? `by ${constraint.value}` : constraint.text;
            const button = h('button', { class: 'constraint', type: 'button', 'aria-label': `Remove: ${label}`, onclick: () => this.without(constraint) }, label, icon('close'));
            append(this.scope, button);
        }
        if (this.scope.childNodes.length > 0) this.scope.hidden = false;
    }

    stopped(): void {
        append(this.body, h('p', { class: 'fine' }, 'Stopped.'));
        this.body.querySelector('.thinking')?.remove();
    }

    failed(error: unknown): void {
        this.body.querySelector('.thinking')?.remove();
        append(this.body, failure(error, this.again));
    }

    private chip(citation: Citation): HTMLElement {
        const button: HTMLButtonElement = h(
            'button',
            {
                class: 'chip',
                type: 'button',
                title: citation.title || citation.source.file,
                'aria-label': `Source ${citation.n}: ${citation.title || citation.source.file}`,
                onclick: () => openCitation(citation, button),
            },
            String(citation.n),
        );
        return button;
    }

    private sources(citations: Citation[]): HTMLElement {
        const list = h('ol', { class: 'sources' });
        const seen = new Set<number>();
        for (const citation of citations) {
            if (seen.has(citation.n)) continue;
            seen.add(citation.n);
            const meta = [citation.author, day(citation.date), citation.source.file].filter((part) => part !== '').join(' · ');
            const button: HTMLButtonElement = h(
                'button',
                { class: 'source', type: 'button', onclick: () => openCitation(citation, button) },
                h('span', { class: 'source-number', 'aria-hidden': 'true' }, String(citation.n)),
                h('span', { class: 'source-text' }, h('span', { class: 'source-title' }, citation.title || citation.document_id), h('span', { class: 'source-meta' }, meta)),
            );
            list.append(h('li', {}, button));
        }
        return h('div', { class: 'source-box' }, h('h3', {}, 'Sources'), list);
    }

    private notFound(answer: Answer): void {
        const box = h('div', { class: 'state not-found' }, h('h3', {}, 'Not in the sources'), h('p', {}, 'No passage supports an answer. Try other words, or widen the filters.'));
        if (this.found.length > 0) {
            const list = h('ul', { class: 'nearest' });
            for (const passage of this.found.slice(0, 3)) {
                list.append(h('li', {}, h('strong', {}, passage.title || passage.document_id), h('span', {}, shorten(passage.text, 160))));
            }
            append(box, h('p', { class: 'fine' }, 'Closest passages:'), list);
        }
        replace(this.body, box);
        if (answer.answer && !/not in the sources/i.test(answer.answer)) append(this.body, h('p', {}, answer.answer));
    }

    private footer(answer: Answer): HTMLElement {
        const label = h('span', {}, 'Copy');
        const copy = h(
            'button',
            {
                class: 'link-button',
                type: 'button',
                onclick: () => {
                    void navigator.clipboard.writeText(asText(this.question, answer)).then(
                        () => this.flash(label, 'Copied'),
                        () => this.flash(label, 'Not allowed'),
                    );
                },
            },
            icon('copy'),
            label,
        );
        const facts = [`Release ${answer.release}`, plural(this.found.length, 'passage'), duration(answer.elapsed_ms)].join(' · ');
        return h('div', { class: 'answer-footer' }, h('span', {}, facts), answer.grounded ? copy : null);
    }

    private flash(label: HTMLElement, text: string): void {
        label.textContent = text;
        window.setTimeout(() => {
            label.textContent = 'Copy';
        }, 1500);
    }
}

function shorten(text: string, length: number): string {
    const flat = text.replaceAll(/\s+/g, ' ').trim();
    return flat.length <= length ? flat : `${flat.slice(0, flat.lastIndexOf(' ', length))} …`;
}

function asText(question: string, answer: Answer): string {
    const lines = [question, '', answer.answer, ''];
    for (const citation of answer.citations) {
        lines.push(`[${citation.n}] ${citation.title}, ${citation.author}, ${citation.source.file} (release ${citation.release})`);
    }
    return lines.join('\n');
}
