// Requests to the gateway. Failures are ApiError (the gateway said no) or OfflineError (it did not answer).
import type { Problem } from './types.js';

export class ApiError extends Error {
    constructor(readonly problem: Problem) {
        super(problem.detail);
    }
}

export class OfflineError extends Error {
    constructor() {
        super('The gateway does not answer.');
    }
}

type Listener = (online: boolean) => void;
const listeners: Listener[] = [];

export function onConnection(listener: Listener): void {
    listeners.push(listener);
}

function report(online: boolean): void {
    for (const listener of listeners) listener(online);
}

export async function request(path: string, init: RequestInit = {}): Promise<Response> {
    let response: Response;
    try {
        response = await fetch(path, init);
    } catch (error) {
        if (init.signal?.aborted) throw error;
        report(false);
        throw new OfflineError();
    }
    report(true);
    if (response.ok) return response;
    let problem: Problem;
    try {
        problem = (await response.json()) as Problem;
    } catch {
        problem = {
            title: 'Unexpected reply',
            status: response.status,
            detail: `The gateway replied with status ${response.status}.`,
            code: 'Internal',
        };
    }
    throw new ApiError(problem);
}

export async function get<T>(path: string, query: Record<string, string | number | null | undefined> = {}): Promise<T> {
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
        if (value !== null && value !== undefined && value !== '') parameters.set(name, String(value));
    }
    const text = parameters.toString();
    const response = await request(text ? `${path}?${text}` : path);
    return (await response.json()) as T;
}

export async function post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    return request(path, {
        ...init,
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...(init.headers ?? {}) },
        body: JSON.stringify(body),
    });
}
