// Server-sent events out of a fetch body (WHATWG HTML, section 9.2.6), for requests that EventSource can't make.

export interface ServerEvent {
    event: string;
    data: string;
}

/** Takes text in any pieces and gives whole events. */
export class EventParser {
    private rest = '';
    private event = '';
    private data: string[] = [];

    push(piece: string): ServerEvent[] {
        const events: ServerEvent[] = [];
        this.rest += piece;
        while (true) {
            const end = /\r\n|\n|\r/.exec(this.rest);
            // A lone CR at the very end may be the first half of CR LF.
            if (!end || (end[0] === '\r' && end.index === this.rest.length - 1)) break;
            const line = this.rest.slice(0, end.index);
            this.rest = this.rest.slice(end.index + end[0].length);
            if (line === '') {
                if (this.data.length > 0) events.push({ event: this.event || 'message', data: this.data.join('\n') });
                this.event = '';
                this.data = [];
                continue;
            }
            if (line.startsWith(':')) continue;
            const colon = line.indexOf(':');
            const field = colon < 0 ? line : line.slice(0, colon);
            const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
            if (field === 'event') this.event = value;
            if (field === 'data') this.data.push(value);
        }
        return events;
    }
}

export async function* serverEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
    const parser = new EventParser();
    const decoder = new TextDecoder();
    const reader = body.getReader();
    try {
        while (true) {
            const { done, value } = await reader.read();
            if (done) break;
            yield* parser.push(decoder.decode(value, { stream: true }));
        }
        yield* parser.push(decoder.decode());
    } finally {
        reader.releaseLock();
    }
}
