// Numbers and times for people.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const moment = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' });
const dayOnly = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeZone: 'UTC' });

export function count(value: number | null | undefined): string {
    return value === null || value === undefined ? '–' : whole.format(value);
}

export function plural(value: number, one: string, many = `${one}s`): string {
    return `${count(value)} ${value === 1 ? one : many}`;
}

export function bytes(value: number): string {
    const units = ['B', 'KB', 'MB', 'GB', 'TB'];
    let unit = 0;
    let size = value;
    while (size >= 1000 && unit < units.length - 1) {
        size /= 1000;
        unit += 1;
    }
    return `${unit === 0 ? whole.format(size) : size.toFixed(size < 10 ? 1 : 0)} ${units[unit]}`;
}

export function duration(milliseconds: number | null): string {
    if (milliseconds === null) return '–';
    if (milliseconds < 1000) return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
    const seconds = milliseconds / 1000;
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
    return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function parsed(text: string): Date | null {
    const date = new Date(text);
    return Number.isNaN(date.getTime()) ? null : date;
}

/** "23 Nov 2026, 08:27" (UTC); the text itself if it is no time. */
export function time(text: string | null): string {
    if (!text) return '–';
    const date = parsed(text);
    return date ? moment.format(date) : text;
}

export function day(text: string | null): string {
    if (!text) return '';
    const date = parsed(text);
    return date ? dayOnly.format(date) : text;
}

export function sentenceCase(text: string): string {
    const spaced = text.replaceAll('_', ' ');
    return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
